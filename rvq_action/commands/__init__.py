"""The subcommands of `rvq-action`, one file each: `add_parser(subparsers)` and `run(parsed)`."""
