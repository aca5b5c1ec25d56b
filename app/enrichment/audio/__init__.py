"""The audio of calls, of recordings and of voicemails alike: streamed, downloaded, archived."""
