"""From templates to unknown identities, their visits and how often they came."""
