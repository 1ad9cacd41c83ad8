"""``countersign policy``: try policies out in a file, without a server, and on what a server recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import Group
from countersign.cli.policy_lab import export_command, replay_command
from countersign.cli.prices import prices_command
from countersign.encoding.counted import counted

if TYPE_CHECKING:
    from countersign.policies.scenario import Scenario

file_argument = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(cls=Group)
def policy() -> None:
    """Test, check and replay policies with the evaluator of the server, without one."""


@policy.command()
@file_argument
@click.option("--verbose", "-v", is_flag=True, help="Explain every case, not only those that fail.")
@json_option
def test(file: Path, verbose: bool, as_json: bool) -> None:
    """Run the cases of FILE (YAML or JSON); exit status 1 if one comes out otherwise than expected."""
    from countersign.api.wire import encode
    from countersign.policies import trial
    from countersign.policies.scenario import BadScenario

    scenario = read_file(file)
    if not scenario.cases:
        raise click.ClickException(f"{file} holds no cases")
    try:
        results = trial.run(scenario)
    except BadScenario as error:
        raise click.ClickException(f"{file}: {error}") from None
    failed = [result for result in results if result.differences]
    if as_json:
        cases = [
            {
                "id": result.id,
                "title": result.title,
                "passed": not result.differences,
                "differences": list(result.differences),
                "explanation": result.tree,
            }
            for result in results
        ]
        click.echo(encode({"passed": len(results) - len(failed), "failed": len(failed), "cases": cases}))
    else:
        for result in results:
            if result.differences or verbose:
                click.echo(f"{'FAILED' if result.differences else 'ok'}  {result.id}  {result.title}".rstrip())
                for line in (*(f"  {difference}" for difference in result.differences), *result.explanation):
                    click.echo(f"  {line}")
        click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise click.exceptions.Exit(1)


@policy.command()
@file_argument
@json_option
def lint(file: Path, as_json: bool) -> None:
    """Name the traps in the policies of FILE; exit status 1 if one of them is an error."""
    from countersign.api.wire import UNSET, encode
    from countersign.policies import lint as linter
    from countersign.policies import trial
    from countersign.policies.approvals import Member
    from countersign.policies.scenario import BadScenario

    world = trial.world_of(read_file(file))
    users = [] if world.users is UNSET else world.users
    try:
        policies = trial.read_policies([] if world.policies is UNSET else world.policies, users)
    except BadScenario as error:
        raise click.ClickException(f"{file}: {error}") from None
    findings = linter.lint(
        policies,
        [Member(user.id, user.kind, user.active) for user in users],
        None
        if world.wallets is UNSET
        else [linter.LintWallet(one.id, one.network, frozenset(one.tags)) for one in world.wallets],
        service_accounts_allowed=world.org_allows_service_account_approvers is not False,
        voters={user.id for user in users if user.can_vote},
    )
    if as_json:
        click.echo(encode({"findings": findings}))
    else:
        for finding in findings:
            click.echo(f"{finding.severity}: {finding.policy_id or 'the set'}: {finding.message} [{finding.code}]")
        numbers = {severity: sum(one.severity == severity for one in findings) for severity in linter.SEVERITIES}
        click.echo(
            ", ".join(counted(numbers[name], name, "info" if name == "info" else None) for name in linter.SEVERITIES)
        )
    if any(finding.severity == "error" for finding in findings):
        raise click.exceptions.Exit(1)


def read_file(file: Path) -> Scenario:
    """A file of policies and of tests of them; what is wrong with it is told in one line."""
    from countersign.encoding import strictyaml
    from countersign.policies.scenario import BadScenario, read_scenario

    try:
        return read_scenario(strictyaml.parse(file.read_text("utf-8")))
    except (strictyaml.BadYaml, BadScenario, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {error}") from None


policy.add_command(replay_command)
policy.add_command(export_command)
policy.add_command(prices_command)
