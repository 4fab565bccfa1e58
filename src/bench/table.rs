//! The table: what was measured, beside what, and what it should be.

use std::io::{self, Write};

use serde::Serialize;

use super::stats::Spread;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    /// Which of the rounds it belongs to.
    pub(super) round: &'static str,
    pub(super) name: String,
    pub(super) unit: &'static str,
    #[serde(flatten)]
    pub(super) spread: Spread,
    /// The same thing done otherwise, in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) beside: Option<Beside>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
}

/// How many times the other's figure this one is, run by run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Beside {
    pub(super) what: String,
    pub(super) times: Spread,
}

/// What a figure should be: its ratio where it has one, else itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(super) fn reached(&self) -> Option<bool> {
        let value = self.beside.as_ref().map_or(self.spread.median, |beside| beside.times.median);
        self.goal.map(|goal| match goal {
            Goal::AtLeast(least) => least <= value,
            Goal::AtMost(most) => value <= most,
        })
    }
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Table {
    pub(super) version: &'static str,
    pub(super) machine: String,
    pub(super) postgres: String,
    pub(super) settings: String,
    pub(super) took_seconds: f64,
    pub(super) figures: Vec<Figure>,
    /// What could not be measured here, and why.
    pub(super) missing: Vec<String>,
}

impl Table {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "confirmd {} on {}, with its {}", self.version, self.machine, self.postgres)?;
        writeln!(
            out,
            "median (least to greatest) of interleaved runs, {}; {:.0} s in all",
            self.settings, self.took_seconds
        )?;
        let mut round = "";
        for figure in &self.figures {
            if round != figure.round {
                round = figure.round;
                writeln!(out, "\n{round}")?;
            }
            let Figure { name, unit, spread, .. } = figure;
            let spread = format!("{} ({} to {}) {unit}", short(spread.median), short(spread.min), short(spread.max));
            let beside = figure.beside.as_ref().map_or(String::new(), |beside| {
                let Spread { median, min, max, .. } = beside.times;
                format!("  {median:.2} ({min:.2} to {max:.2}) times {}", beside.what)
            });
            writeln!(out, "{}", format!("  {name:<44} {spread:<34}{beside}{}", verdict(figure)).trim_end())?;
        }
        for missing in &self.missing {
            writeln!(out, "\nnot measured: {missing}")?;
        }
        Ok(())
    }
}

fn verdict(figure: &Figure) -> String {
    let bound = match figure.goal {
        None => return String::new(),
        Some(Goal::AtLeast(least)) => format!("at least {}", short(least)),
        Some(Goal::AtMost(most)) => format!("at most {}", short(most)),
    };
    let mark = if figure.reached() == Some(true) { "ok" } else { "MISSED" };
    format!("  [{mark}: {bound}]")
}

/// Three digits that count, as people write them.
fn short(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..10_000.0 => format!("{value:.0}"),
        _ => format!("{:.1} k", value / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64], goal: Option<Goal>) -> Figure {
        let spread = Spread::of(values).unwrap();
        Figure { round: "intake", name: "events".into(), unit: "/s", spread, beside: None, goal }
    }

    #[test]
    fn a_goal_is_of_the_ratio_where_there_is_one() {
        let mut fast = figure(&[30_000.0], Some(Goal::AtLeast(3.5)));
        fast.beside = Some(Beside { what: "the obvious design".into(), times: Spread::of(&[3.0]).unwrap() });
        assert_eq!(fast.reached(), Some(false));
        assert_eq!(figure(&[20.0], Some(Goal::AtMost(20.0))).reached(), Some(true));
        assert_eq!(figure(&[20.0], None).reached(), None);
    }

    #[test]
    fn the_table_can_be_read() {
        let figures = vec![figure(&[12_345.0, 8.25, 999.0], Some(Goal::AtMost(1.0)))];
        let table = Table {
            version: "1",
            machine: "2 cores".into(),
            postgres: "Postgres".into(),
            settings: "durable".into(),
            took_seconds: 1.0,
            figures,
            missing: vec!["peers: no Node".into()],
        };
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("events                                       999 (8.25 to 12.3 k) /s"), "{text}");
        assert!(text.contains("[MISSED: at most 1.00]"), "{text}");
        assert!(text.ends_with("not measured: peers: no Node\n"), "{text}");
        assert!(serde_json::to_string(&table).unwrap().contains("\"at_most\":1.0"));
    }
}
