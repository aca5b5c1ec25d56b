"""From the timeline to messages: which endpoint receives which change."""
