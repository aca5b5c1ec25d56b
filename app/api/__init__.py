"""What every route shares: authentication, strict parameters, problems, HEAD requests, body limits."""
