"""An option that would have no effect is refused."""

import pytest

from backtalk.cli import main


@pytest.fixture(scope="module")
def mail(shared_demo, tmp_path_factory):
    return shared_demo.copy(tmp_path_factory.mktemp("mail") / "demo")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("learn best-of-n --policy plain --max-money 3", "--prices"),
        ("learn best-of-n --policy plain --prices p.yaml", "--prices has no effect"),
        ("learn best-of-n --policy plain -o n=2 -o n=3", "given twice"),
        ("learn best-of-n --policy plain --people --judge nobody", "No such option"),
        ("learn-online best-of-n --policy plain", "source of feedback"),
        ("learn-online best-of-n --policy plain --people --teacher nobody", "no policy 'nobody'"),
        ("learn-online best-of-n --policy plain --people --sampler nonsense", "'nonsense'"),
        ("learn-online best-of-n --policy plain --people --judge nobody", "no judge 'nobody'"),
        ("learn-online best-of-n --policy plain --people --mixture-weight 0.3", "no effect"),
        ("learn-online best-of-n --policy plain --people --pair-selection all", "no effect"),
        (
            "learn-online best-of-n --policy plain --judge true-utility --pair-selection odd",
            "'odd'",
        ),
        ("watch best-of-n --once --limit 5", "--limit has no effect"),
        ("watch best-of-n --once --guard true-utility", "--guard has no effect"),
        ("export all -f archive --kind edit", "--kind has no effect"),
        ("import all -f archive --allow-bad 3", "--allow-bad has no effect"),
        ("import all -f archive -o a=b", "--option has no effect"),
        ("import a.jsonl -f trl --mapping m.yaml", "exclude each other"),
        ("evaluation report --json --output r.html", "--output has no effect"),
        ("key add shop --all-projects --project mail", "--project has no effect"),
        ("promote plain --win-rate 0.9 --project empty", "no policy"),
        ("experiment start a --candidate plain --floor 0.2", "--floor has no effect"),
        (
            "experiment start a --candidate plain --allocation thompson --share 0.3",
            "--share has no effect",
        ),
        (
            "experiment start a --candidate plain --allocation dueling --unit user",
            "--unit has no effect",
        ),
        ("task add Good? --kind thumbs --aspect tone", "aspects"),
        ("task add Good? --kind thumbs --label odd", "labels"),
    ],
)
def test_an_idle_option_is_refused(line, words, *, mail, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKTALK_STORE", str(mail))
    assert main(line.split()) in {1, 2}
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_first_policy_of_a_project_takes_no_evidence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("model: {kind: named, name: writer}\n")
    assert main(["policy", "add", "p.yaml", "--name", "plain"]) == 0
    for option in (["--win-rate", "0.9"], ["--tolerance", "0.1"], ["--evaluation", "3f"]):
        assert main(["promote", "plain", *option]) == 1
        assert f"{option[0]} has no effect" in capsys.readouterr().err
    assert main(["promote", "plain"]) == 0


def test_a_tolerance_needs_a_guardrail_judge(mail, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKTALK_STORE", str(mail))
    judged = ["evaluate", "from-edit", "--judge", "true-utility", "--limit", "8"]
    assert main(judged) == 0
    assert main(["promote", "from-edit", "--tolerance", "0.1"]) == 1
    assert "--tolerance has no effect" in capsys.readouterr().err
