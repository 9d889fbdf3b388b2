"""The command line: one small file a command, thin over the SDK; whatever is heavy is imported by the command."""
