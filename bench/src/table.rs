//! The figures, for people.

use std::io::{Result, Write};

use crate::{
    contestant::System,
    growth::{GrowthRun, Holding},
    meter::float,
    online::{Load, OnlineResult},
    push::BystanderResult,
    report::{Report, median},
    side_by_side::Run,
    stored::StoredResult,
};

/// Writes medians. CPU is of the program that is measured, in µs for each message.
pub(crate) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    let machine = &report.machine;
    writeln!(out, "{} processors, {}, Linux {}", machine.processors, machine.model, machine.kernel)?;
    writeln!(
        out,
        "{} bytes a message, TLS 1.3, generator on the same machine, medians of {} by turns\n",
        report.options.size, report.options.rounds
    )?;
    writeln!(
        out,
        "{:<42} {:>10} {:>8} {:>8} {:>10} {:>8}",
        "", "messages/s", "CPU µs", "p99 ms", "generator µs", "stolen %"
    )?;
    let runs = &report.runs;
    for &outstanding in &report.options.outstanding {
        write_online(
            out,
            &runs.online,
            &format!("online, {outstanding} outstanding"),
            |load| matches!(load, Load::Closed { outstanding: found } if found == outstanding),
        )?;
    }
    write_online(out, &runs.online, "online, offered", |load| matches!(load, Load::Open { .. }))?;
    write_stored(out, &runs.stored, "stored, recipients away")?;
    write_stored(out, &runs.drain, "stored for one device")?;
    write_rest(report, out)?;
    write_ratios(report, out)
}

fn write_online(
    out: &mut impl Write,
    runs: &[Run<OnlineResult>],
    name: &str,
    matching: impl Fn(Load) -> bool,
) -> Result<()> {
    for system in [System::Heliograph, System::FloorSqlite, System::FloorRelay] {
        let of = |figure: fn(&OnlineResult) -> f64| {
            Run::median_of(runs, system, |result| matching(result.load).then(|| figure(result)))
        };
        let line = Line {
            per_second: of(|result| result.per_second),
            server_us: of(|result| result.server_us_per_message),
            p99_us: of(|result| float(result.latency.p99_us)),
            generator_us: of(|result| result.generator_us_per_message),
            stolen: of(|result| result.usage.stolen_percent),
        };
        line.write(out, name, system)?;
    }
    Ok(())
}

fn write_stored(out: &mut impl Write, runs: &[Run<StoredResult>], name: &str) -> Result<()> {
    for system in [System::Heliograph, System::FloorSqlite] {
        let of =
            |figure: fn(&StoredResult) -> f64| Run::median_of(runs, system, |result| Some(figure(result)));
        let line = Line {
            per_second: of(|result| result.per_second),
            server_us: of(|result| result.server_us_per_message),
            p99_us: of(|result| float(result.latency.p99_us)),
            generator_us: of(|result| result.generator_us_per_message),
            stolen: of(|result| result.usage.stolen_percent),
        };
        line.write(out, name, system)?;
    }
    for system in [System::Heliograph, System::FloorSqlite] {
        let of =
            |figure: fn(&StoredResult) -> f64| Run::median_of(runs, system, |result| Some(figure(result)));
        let line = Line {
            per_second: of(|result| result.drain.per_second),
            server_us: of(|result| result.drain.server_us_per_message),
            p99_us: None,
            generator_us: of(|result| result.drain.generator_us_per_message),
            stolen: of(|result| result.drain.usage.stolen_percent),
        };
        let sockets = runs.first().map_or(0, |run| run.result.drain.sockets);
        line.write(out, &format!("drained, {sockets} sockets"), system)?;
    }
    let grown = runs.iter().filter(|run| run.system == System::Heliograph).map(|run| {
        float(run.result.drain.rss_max_kib.saturating_sub(run.result.drain.rss_before_kib)) / 1024.0
    });
    if let Some(most) = grown.max_by(f64::total_cmp) {
        writeln!(out, "  server memory grew while draining by at most {most:.1} MiB")?;
    }
    Ok(())
}

/// A line of the table of rates.
struct Line {
    per_second: Option<f64>,
    server_us: Option<f64>,
    p99_us: Option<f64>,
    generator_us: Option<f64>,
    stolen: Option<f64>,
}

impl Line {
    fn write(&self, out: &mut impl Write, name: &str, system: System) -> Result<()> {
        let Some(per_second) = self.per_second else { return Ok(()) };
        let system = match system {
            System::Heliograph => "",
            System::FloorSqlite => " · floor, SQLite",
            System::FloorRelay => " · floor, relay",
        };
        let name = format!("{name}{system}");
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
        writeln!(
            out,
            "{name:<42} {per_second:>10.0} {:>8} {:>8} {:>12} {:>8}",
            number(self.server_us),
            number(self.p99_us.map(|us| us / 1e3)),
            number(self.generator_us),
            number(self.stolen),
        )
    }
}

fn write_rest(report: &Report, out: &mut impl Write) -> Result<()> {
    let runs = &report.runs;
    if let Some(run) = runs.groups.first() {
        let rate = median(runs.groups.iter().map(|run| run.deliveries_per_second)).unwrap_or_default();
        let cpu = median(runs.groups.iter().map(|run| run.server_us_per_delivery)).unwrap_or_default();
        writeln!(
            out,
            "multi-recipient to groups of {}: {rate:.0} deliveries/s stored, {cpu:.1} µs CPU each",
            run.recipients
        )?;
    }
    for idle in &runs.idle {
        writeln!(
            out,
            "idle sockets, {} at {}: {:.1} KiB each, {:.1} KiB after a message of {} bytes; {:.0} connects/s, \
             {:.0} µs CPU each",
            idle.carrier,
            idle.sockets,
            idle.rss_kib_per_socket,
            idle.rss_kib_per_socket_after_large,
            idle.large_len,
            idle.connects_per_second,
            idle.server_us_per_connect,
        )?;
    }
    if let Some(queue) = &runs.queue {
        writeln!(
            out,
            "memory for each queued message: {:.1} bytes ({} more messages)",
            queue.bytes_per_message,
            queue.messages_after - queue.messages_before
        )?;
    }
    if let Some(push) = &runs.push {
        writeln!(
            out,
            "pushes: p99 {:.1} ms from message to push when idle; {:.0} a second of {} offered, {:.0} µs CPU each; {} \
             devices at once in {:.1} s",
            float(push.wake.p99_us) / 1e3,
            push.per_second,
            push.offered_per_second,
            push.server_us_per_push,
            push.devices,
            push.burst_seconds,
        )?;
        writeln!(
            out,
            "  memory {:.1} MiB before the burst, {:.1} at most, {} devices lost",
            float(push.memory_before.rss_kib) / 1024.0,
            float(push.peak_rss_kib) / 1024.0,
            push.lost
        )?;
        for BystanderResult { service, delivery, answer, memory } in &push.bystanders {
            writeln!(
                out,
                "  others, push service {service}: delivery p50 {:.1} ms, p99 {:.1} ms; answer p99 {:.1} ms; {:.1} MiB",
                float(delivery.p50_us) / 1e3,
                float(delivery.p99_us) / 1e3,
                float(answer.p99_us) / 1e3,
                float(memory.rss_kib) / 1024.0
            )?;
        }
    }
    if let Some(logins) = &runs.logins {
        writeln!(
            out,
            "log-ins: {:.1} a second; delivery p99 {:.2} ms when quiet, {:.2} ms in the storm ({:.2} times)",
            logins.per_second,
            float(logins.quiet.p99_us) / 1e3,
            float(logins.storm.p99_us) / 1e3,
            logins.p99_ratio,
        )?;
    }
    if let Some(start) = &runs.start {
        writeln!(
            out,
            "start: {:.1} ms to ready ({:.1} the first time), {:.1} MiB one second later",
            start.median_ready_ms,
            start.first_ready_ms,
            float(start.memory.rss_kib) / 1024.0,
        )?;
    }
    write_growth(&runs.growth, out)
}

fn write_growth(runs: &[GrowthRun], out: &mut impl Write) -> Result<()> {
    for holding in [Holding::Little, Holding::ManyAccounts, Holding::ManyMessages] {
        let of = |holding, figure: fn(&GrowthRun) -> f64| {
            let own = runs.iter().filter(move |run| run.holding == holding);
            median(own.map(figure)).unwrap_or_default()
        };
        let share = |figure: fn(&GrowthRun) -> f64| 100.0 * of(holding, figure) / of(Holding::Little, figure);
        let Some(run) = runs.iter().find(|run| run.holding == holding) else { continue };
        writeln!(
            out,
            "with {} accounts and {} messages: online {:.0} % of the small store's rate at {:.0} % of its CPU, \
             stored {:.0} % at {:.0} %, ready after {:.1} ms",
            run.accounts,
            run.messages,
            share(|run| run.online.per_second),
            share(|run| run.online.server_us_per_message),
            share(|run| run.stored.per_second),
            share(|run| run.stored.server_us_per_message),
            run.ready_ms,
        )?;
    }
    Ok(())
}

fn write_ratios(report: &Report, out: &mut impl Write) -> Result<()> {
    let ratios = report.ratios;
    let named = [
        ("online_1", ratios.online_1),
        ("online_16", ratios.online_16),
        ("stored", ratios.stored),
        ("drain_100", ratios.drain_100),
        ("drain_1", ratios.drain_1),
    ];
    for (name, ratio) in named {
        if let Some(ratio) = ratio {
            writeln!(out, "server ÷ floor with SQLite, {name}: {ratio:.2}")?;
        }
    }
    writeln!(out, "lost: {}", report.runs.lost())
}
