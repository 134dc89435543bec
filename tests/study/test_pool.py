import os
import signal
import sys
import threading
import time

from gan_vkd.study.pool import side_by_side

PATIENCE = 60  # seconds until something hangs


def python(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


def run(commands, jobs=2, seconds=PATIENCE, environment=None):
    ends = []
    whole = side_by_side(
        {name: python(text) for name, text in commands.items()},
        jobs=jobs,
        deadline=time.monotonic() + seconds,
        environment=environment or {},
        ended=ends.append,
    )
    return whole, {end.name: end for end in ends}


def test_all_run_and_tell_how_they_ended(tmp_path):
    write = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['X'], file=open({!r}, 'w'))"
    whole, ends = run(
        {
            "good": write.format(str(tmp_path / "good")),
            "bad": "raise SystemExit('Error: no such thing')",
            "long": "import sys; sys.stderr.write('x' * 200_000)",  # more than a pipe holds
        },
        environment={"X": "here"},
    )
    assert whole
    assert {name: end.code for name, end in ends.items()} == {"good": 0, "bad": 1, "long": 0}
    assert ends["bad"].said.strip() == "Error: no such thing"
    assert (tmp_path / "good").read_text() == "1 here\n"


def test_no_more_than_jobs_at_a_time_in_order(tmp_path):
    log = tmp_path / "log"
    text = (
        "import time; log = open({!r}, 'a', buffering=1)\n"
        "log.write('+{}\\n'); time.sleep(.3); log.write('-{}\\n')"
    )
    run({str(i): text.format(str(log), i, i) for i in range(5)}, jobs=2)
    lines = log.read_text().split()
    assert sorted(line for line in lines if line[0] == "+") == [f"+{i}" for i in range(5)]
    assert set(lines[:2]) <= {"+0", "+1", "-0"}
    running = 0
    for line in lines:
        running += 1 if line[0] == "+" else -1
        assert running <= 2


SAVES = (
    "import signal, time, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: (open({0!r}, 'a').write('saved'), sys.exit(143)))\n"
    "open({0!r}, 'a').write('started ')\n"
    "time.sleep(100)"
)


def wait_for(file):
    ends = time.monotonic() + PATIENCE
    while not file.exists() and time.monotonic() < ends:
        time.sleep(0.02)


def test_at_the_deadline_each_is_asked_once_to_end(tmp_path):
    file = tmp_path / "file"
    whole, ends = run({"a": SAVES.format(str(file)), "b": "never"}, jobs=1, seconds=5)
    assert not whole
    assert ends.keys() == {"a"}  # what waited was not begun
    assert (ends["a"].code, file.read_text()) == (143, "started saved")


def test_a_signal_ends_all_and_is_not_passed_on_twice(signals_of_a_terminal, tmp_path):
    file = tmp_path / "file"

    def interrupt():
        wait_for(file)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    whole, ends = run({"a": SAVES.format(str(file)), "b": "never"}, jobs=1)
    thread.join()
    assert not whole
    assert (ends["a"].code, file.read_text()) == (143, "started saved")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
