"""What decides about attachments: labels, whose sentiment counts, what is stored of a note. No I/O."""
