"""What the operator sees: health, metrics, figures and the live dashboard.

`summary` counts, `board` keeps what viewers share, `view` puts it into words and positions, `dashboard` and
`router` serve it. Nothing here changes a call.
"""
