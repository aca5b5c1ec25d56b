"""What is true of each scripted call, and what each witness tells of it."""
