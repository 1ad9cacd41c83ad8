"""`python -m bench`: measure a real server on both engines against the bare minimum on the same software."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console


def main() -> None:
    """Run, print, and write the JSON file if one is named."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each scenario in each round")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    parser.add_argument("--scale", action="store_true", help="the cost of a ceremony over a large database")
    parser.add_argument("--scale-keys", type=int, default=1_000_000)
    parser.add_argument("--scale-entries", type=int, default=10_000_000)
    parser.add_argument("--scale-directory", type=Path, help="where to make the databases (default: a temporary one)")
    parser.add_argument("--identities", action="store_true", help="the cost of passkeys, and of a caller among many")
    parser.add_argument(
        "--engine",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="for --identities, --governance, --webhooks, --login",
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--credentials", type=int, default=5_000_000)
    parser.add_argument("--backup", action="store_true", help="backup, restore and drill of many keys")
    parser.add_argument("--backup-keys", type=int, default=100_000)
    parser.add_argument("--signer", action="store_true", help="an order through the signer's socket, and unsealing")
    parser.add_argument("--signer-keys", type=int, default=100_000, help="keys in the large store of --signer")
    parser.add_argument("--governance", action="store_true", help="signing under policies, running jobs")
    parser.add_argument(
        "--governance-finished", type=int, default=1_000_000, help="stored events, and dead jobs; for --webhooks too"
    )
    parser.add_argument("--webhooks", action="store_true", help="deliveries next to a bare client")
    parser.add_argument("--webhook-events", type=int, default=10_000, help="that wait, in each round")
    parser.add_argument("--login", action="store_true", help="a login next to a ceremony, and reads beside many logins")
    options = parser.parse_args()
    rounds, seconds = (2, 0.4) if options.quick else (options.rounds, options.seconds)
    console = Console(width=None if sys.stdout.isatty() else 160)

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if options.scale:
        from bench import scale

        document = scale.run(
            options.scale_keys, options.scale_entries, options.scale_directory, rounds, seconds, console, tell
        )
    elif options.backup:
        from bench import backup

        document = backup.run(options.backup_keys, console, tell)
    elif options.signer:
        from bench import signer, unsealing

        document = signer.run(rounds, seconds, console, tell)
        document["unsealing"] = unsealing.run(options.signer_keys, rounds, console, tell)
    elif options.governance:
        from bench import governance

        document = governance.run(options.engine, options.governance_finished, rounds, seconds, console, tell)
    elif options.webhooks:
        from bench import webhooks

        events, finished = options.webhook_events, options.governance_finished
        document = webhooks.run(options.engine, events, finished, rounds, 10 * seconds, console, tell)
    elif options.login:
        from bench import login

        document = login.run(options.engine, rounds, seconds, console, tell)
    elif options.identities:
        from bench import identities

        place = options.scale_directory
        users, credentials = options.users, options.credentials
        document = identities.run(options.engine, users, credentials, place, rounds, seconds, console, tell)
    else:
        from bench import report
        from bench.run import run

        results = run(rounds, seconds, tell)
        report.show(results, console)
        document = report.as_dict(results)
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
