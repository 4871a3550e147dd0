"""`port42 daemon …`: started, stopped and listened to by hand."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import threading

from port42_cli.commands.daemon import LOOK_EVERY


def pid(port42):
    return port42.json("status", "--json", env={"PORT42_NO_AUTOSTART": "1"})["pid"]


def holds_its_lock(home):
    """Whether a daemon lives; its pid would not say, which init may not have reaped yet."""
    with (home / "daemon.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_start_says_when_one_runs_already(port42):
    done = port42("daemon", "start", env={"PORT42_NO_AUTOSTART": "1"})
    assert done.returncode == 0
    assert done.stderr == f"port42d started (pid {pid(port42)})\n"
    again = port42("daemon", "start")
    assert (again.returncode, again.stderr) == (0, f"port42d is running already (pid {pid(port42)})\n")


def test_stop_waits_until_it_is_gone(port42, home):
    port42("daemon", "start")
    assert holds_its_lock(home)
    number = pid(port42)
    done = port42("daemon", "stop")
    assert (done.returncode, done.stderr) == (0, f"port42d stopped (pid {number})\n")
    assert not holds_its_lock(home)
    assert not (home / "daemon.json").exists()
    again = port42("daemon", "stop")
    assert (again.returncode, again.stderr) == (0, "port42d is not running\n")


def test_stop_starts_nothing(port42, home):
    assert port42("daemon", "stop").returncode == 0
    assert not home.exists()


def test_restart_is_another_process_and_works_from_nothing(port42):
    assert port42("daemon", "restart").returncode == 0
    first = pid(port42)
    assert port42("daemon", "restart").returncode == 0
    assert pid(port42) != first


def started_by(home):
    return json.loads((home / "daemon.json").read_bytes())["started_by"]


def test_who_started_it_is_noted_and_a_restart_keeps_what_starts_by_itself(port42, home):
    port42("daemon", "restart")
    assert started_by(home) == "hand"
    port42("daemon", "restart")
    assert started_by(home) == "hand"
    port42("daemon", "stop")
    port42("status")
    assert started_by(home) == "autostart"
    port42("daemon", "restart")
    assert started_by(home) == "autostart"


def test_a_daemon_elsewhere_is_stopped_where_it_is(start_daemon, port42, home):
    running = start_daemon(socket=home.parent / "elsewhere.sock")
    assert port42("daemon", "stop").stderr == f"port42d stopped (pid {running.pid})\n"
    running.process.wait(30)
    running.process = None


def test_run_is_the_daemon_in_the_foreground(port42, process):
    command = [sys.executable, "-m", "port42_cli", "daemon", "run"]
    running = process(command, stderr=subprocess.PIPE, text=True)
    for line in running.stderr:
        if "listens at" in line:
            break
    assert pid(port42) == running.pid
    running.send_signal(signal.SIGINT)
    assert "stopped" in running.stderr.read()
    assert running.wait(30) == 0


def test_run_beside_a_running_one_says_so(daemon, port42):
    done = port42("daemon", "run")
    assert done.returncode == 1
    assert f"port42d is already running (pid {daemon.pid})" in done.stderr


def test_logs_are_the_end_of_the_file(port42):
    port42.begin("@ai-muse", "hi")
    lines = port42("daemon", "logs").stdout.splitlines()
    assert "listens at" in lines[0]
    assert "📌 ai-muse → cli-" in lines[-1]
    assert port42("daemon", "logs", "-n", "1").stdout.splitlines() == lines[-1:]
    assert port42("daemon", "logs", "-n", "0").stdout == ""


def test_no_log_is_told(port42, home):
    done = port42("daemon", "logs")
    assert done.returncode == 1
    assert f"no log at {home}/daemon.log" in done.stderr


def test_logs_are_followed_across_rotation(port42, home, process):
    port42("daemon", "start")
    log = home / "daemon.log"
    command = [sys.executable, "-m", "port42_cli", "daemon", "logs", "-f"]
    following = process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert "listens at" in following.stdout.readline()
    with log.open("a") as old:
        log.rename(home / "daemon.log.1")
        old.write("the last of the old\n")
    log.write_text("the first of the new\n")
    assert following.stdout.readline() == "the last of the old\n"
    assert following.stdout.readline() == "the first of the new\n"
    following.send_signal(signal.SIGINT)
    assert following.wait(30) == 130
    assert LOOK_EVERY < 1, "a person is watching"


def test_many_commands_during_restarts_all_get_their_answer(port42):
    results = []

    def ask():
        results.extend(port42("status", "--json").returncode for _ in range(6))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for _ in range(3):
        assert port42("daemon", "restart").returncode == 0
    for thread in asking:
        thread.join()
    assert results == [0] * 12


def test_a_reload_says_what_is_in_force_or_what_is_wrong(port42, home):
    assert port42("daemon", "reload").returncode == 69
    port42("daemon", "start")
    (home / "config.toml").write_text('[agents.tester]\nsystem = "You test."\n')
    assert port42("daemon", "reload").stderr == "config.toml was reloaded: 1 agent, 0 back ends\n"
    (home / "config.toml").write_text('[agents.tester]\nsistem = "You test."\n')
    done = port42("daemon", "reload")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: config.toml: line 2: agents.tester.sistem: ")
    assert "tester" in port42("agents").stdout
