//! The two programs of this folder, in their short form, against the real server.

use std::process::Command;

use anyhow::Context as _;

/// The crash run's length: enough to catch a lost message, short enough for every test run.
const ROUNDS: &str = "20";

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
    let online = figures["online"].as_array().context("no online figures")?;
    assert!(!online.is_empty());
    for run in online {
        assert!(run["messages"].as_u64() > Some(0), "{run}");
    }
    assert!(figures["idle"]["rss_kib_per_socket"].as_f64() > Some(0.0));
    assert_eq!(figures["stored"]["drain"]["lost"], 0);
    Ok(())
}

#[test]
fn nothing_accepted_is_lost_when_the_server_is_killed() -> anyhow::Result<()> {
    let rounds = std::env::var("HELIOGRAPH_CRASH_ROUNDS").unwrap_or_else(|_| ROUNDS.to_owned());
    let transcript = run(env!("CARGO_BIN_EXE_heliograph-crash"), &["--rounds", &rounds])?;
    assert!(transcript.contains("crash: ok"), "{transcript}");
    Ok(())
}
