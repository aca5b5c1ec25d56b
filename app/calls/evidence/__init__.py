"""What witnesses say of a call, and the derivation of the call from all of it. Pure."""
