//! The load generator and the crash run, in their short form, against the real server.

use std::process::Command;

use anyhow::Context as _;

/// The crash run's length: enough to catch a lost message, short enough for every test run.
const ROUNDS: &str = "20";

/// The same with many senders, where a round is worth several of the others.
const ROUNDS_WITH_MANY: &str = "8";

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(stdout)
}

#[test]
fn the_load_generator_measures_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("bench.json");
    let json_path = json.to_str().context("path")?;
    let table = run(env!("CARGO_BIN_EXE_heliograph-bench"), &["--quick", "--json", json_path])?;
    assert!(table.contains("lost: 0"), "{table}");
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(json)?)?;
    for ratio in ["online_1", "online_16", "stored", "drain_100", "drain_1"] {
        assert!(figures["ratios"][ratio].as_f64() > Some(0.0), "no {ratio}\n{table}");
    }
    for figure in ["online_cpu_us", "stored_cpu_us", "idle_kb_per_socket", "idle_kb_per_socket_after_large"] {
        assert!(figures[figure].as_f64() > Some(0.0), "no {figure}\n{table}");
    }
    for (part, runs) in
        [("online", 9), ("stored", 2), ("drain", 2), ("groups", 1), ("idle", 2), ("growth", 3)]
    {
        assert_eq!(figures[part].as_array().map(Vec::len), Some(runs), "{part}\n{table}");
    }
    assert!(figures["push"]["per_second"].as_f64() > Some(0.0), "no pushes\n{table}");
    for run in figures["online"].as_array().context("no online runs")? {
        assert!(run["messages"].as_u64() > Some(0), "{run}");
    }
    Ok(())
}

#[test]
fn nothing_accepted_is_lost_when_the_server_is_killed() -> anyhow::Result<()> {
    let rounds = std::env::var("HELIOGRAPH_CRASH_ROUNDS").unwrap_or_else(|_| ROUNDS.to_owned());
    // With few senders messages are committed a few at a time, with many so many that they go to segments.
    for (rounds, senders) in [(rounds.as_str(), "4"), (ROUNDS_WITH_MANY, "48")] {
        let arguments = ["--rounds", rounds, "--senders", senders];
        let transcript = run(env!("CARGO_BIN_EXE_heliograph-crash"), &arguments)?;
        assert!(transcript.contains("crash: ok"), "{transcript}");
    }
    Ok(())
}
