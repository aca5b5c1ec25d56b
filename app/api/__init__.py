"""What every route shares: authentication, strict parameters, problems, middleware, base models."""
