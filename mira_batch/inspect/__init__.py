"""The inspect job: cheap facts of every image of a catalogue, before anybody spends on editing it."""
