"""What the operator sees: health, metrics, figures, problems, dashboard. Nothing here changes a call."""
