"""From usage to alerts: rules on event time, episodes and evidence."""
