//! What was measured, to paper: tables for people, JSON for machines, each target with met or not met.
//!
//! Every part of the benchmark hands in one [`Measured`]; nothing here knows what a part is about.

pub(crate) mod figure;
mod machine;
pub(crate) mod table;
pub(crate) mod targets;

use std::{io::Write as _, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    charts::Chart,
    daemon::settings::Settings,
    error::{BenchError, Result},
    report::{figure::Figure, table::Table},
    setup::Effort,
};

/// What one part of the benchmark has to say.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// What its daemons were told.
    pub(crate) daemons: Vec<Settings>,
    pub(crate) tables: Vec<Table>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) charts: Vec<Chart>,
    /// What the reader must know, in a sentence each; above all what was left out, and why.
    pub(crate) notes: Vec<String>,
    /// For the JSON report: as much as somebody needs to check the rest.
    pub(crate) details: Value,
}

#[derive(Debug)]
pub(crate) struct Report {
    effort: Effort,
    parts: Vec<(&'static str, Measured)>,
}

impl Report {
    pub(crate) fn new(effort: Effort) -> Self {
        Self { effort, parts: Vec::new() }
    }

    pub(crate) fn add(&mut self, part: &'static str, measured: Measured) {
        self.parts.push((part, measured));
    }

    pub(crate) fn misses_a_target(&self) -> bool {
        self.figures().any(|figure| figure.met() == Some(false))
    }

    fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.parts.iter().flat_map(|(_, measured)| &measured.figures)
    }

    pub(crate) fn tables(&self) -> String {
        let tables = self.parts.iter().flat_map(|(_, measured)| &measured.tables);
        let mut texts: Vec<String> = tables.filter(|table| !table.is_empty()).map(Table::render).collect();
        let mut figures = Table::new(["figure", "measured", "target", ""]);
        for figure in self.figures() {
            figures.row(figure.cells());
        }
        if !figures.is_empty() {
            texts.push(figures.render());
        }
        let notes = self
            .parts
            .iter()
            .flat_map(|(part, measured)| measured.notes.iter().map(move |note| format!("{part}: {note}\n")));
        texts.extend(notes);
        texts.join("\n")
    }

    fn to_json(&self) -> Value {
        let parts = self.parts.iter().map(|(part, measured)| {
            let told = json!({
                "daemons": measured.daemons,
                "notes": measured.notes,
                "details": measured.details,
                "figures": measured.figures,
            });
            ((*part).to_owned(), told)
        });
        json!({ "machine": machine::machine(), "effort": self.effort, "parts": parts.collect::<Map<_, _>>() })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{:#}\n", self.to_json());
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(path, text))
            .map_err(|source| BenchError::Report { path: path.to_owned(), source })
    }

    /// One file each into the directory.
    pub(crate) fn write_charts(&self, directory: &Path) -> Result<()> {
        self.parts
            .iter()
            .flat_map(|(_, measured)| &measured.charts)
            .try_for_each(|chart| chart.write(directory))
    }
}

/// One line on stderr. Progress that cannot be shown is no reason to stop measuring.
pub(crate) fn progress(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
}
