//! One number with its unit and, where the project promises one, its target.

use serde::{Serialize, Serializer, ser::SerializeStruct};

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    /// Absent where there were not measured for it.
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    /// A figure without one is only told.
    pub(crate) target: Option<Target>,
}

impl Figure {
    pub(crate) fn told(name: impl Into<String>, value: impl Into<Option<f64>>, unit: &'static str) -> Self {
        Self { name: name.into(), value: value.into(), unit, target: None }
    }

    pub(crate) fn judged(
        name: impl Into<String>,
        value: impl Into<Option<f64>>,
        unit: &'static str,
        target: Target,
    ) -> Self {
        Self { target: Some(target), ..Self::told(name, value, unit) }
    }

    /// Absent where there is no target, or nothing to hold against it.
    pub(crate) fn met(&self) -> Option<bool> {
        let value = self.value?;
        Some(match self.target? {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        })
    }

    /// The columns of the table of figures.
    pub(crate) fn cells(&self) -> Vec<String> {
        let with_unit = |value: f64| format!("{value:.2} {}", self.unit);
        let target = match self.target {
            Some(Target::AtMost(most)) => format!("≤ {}", with_unit(most)),
            Some(Target::AtLeast(least)) => format!("≥ {}", with_unit(least)),
            None => String::new(),
        };
        let verdict = match (self.met(), self.target) {
            (Some(true), _) => "met",
            (Some(false), _) => "NOT MET",
            (None, Some(_)) => "not measured",
            (None, None) => "",
        };
        let value = self.value.map_or_else(|| "-".to_owned(), with_unit);
        vec![self.name.clone(), value, target, verdict.to_owned()]
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut figure = serializer.serialize_struct("Figure", 5)?;
        figure.serialize_field("name", &self.name)?;
        figure.serialize_field("value", &self.value)?;
        figure.serialize_field("unit", self.unit)?;
        figure.serialize_field("target", &self.target)?;
        figure.serialize_field("met", &self.met())?;
        figure.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_on_its_target_meets_it_from_either_side() {
        let met = |value, target| Figure::judged("some", value, "ms", target).met();
        assert_eq!(met(3.0, Target::AtMost(3.0)), Some(true));
        assert_eq!(met(3.1, Target::AtMost(3.0)), Some(false));
        assert_eq!(met(4.0, Target::AtLeast(4.0)), Some(true));
        assert_eq!(met(3.9, Target::AtLeast(4.0)), Some(false));
    }

    #[test]
    fn a_figure_without_enough_samples_is_neither_met_nor_missed() {
        let figure = Figure::judged("some", None, "ms", Target::AtMost(3.0));
        assert_eq!(figure.met(), None);
        assert_eq!(figure.cells(), ["some", "-", "≤ 3.00 ms", "not measured"]);
    }
}
