"""One run of training: its parameters, schedules, loop and trial; nothing here knows Ray."""
