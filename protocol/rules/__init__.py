"""Values to decisions. May import `wire`; `now`, ids and random numbers come in as arguments."""
