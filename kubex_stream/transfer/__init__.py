"""Files to and from containers: tar over the streams of a command, and the rules that keep a copy inside of its target."""
