//! Where a value lies on an axis, from where to where the axis goes, and what is written beside it.

use super::Kind;

/// Ticks are at these, times a power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
const MOST_TICKS: usize = 9;

#[derive(Debug, Clone)]
pub(super) struct Scale {
    kind: Kind,
    /// The ends and the ticks, as places: logarithms on a logarithmic axis.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

impl Scale {
    pub(super) fn over(kind: Kind, values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> =
            values.into_iter().filter(|value| kind == Kind::Linear || *value > 0.0).collect();
        let largest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        match kind {
            Kind::Linear => Self::linear(largest),
            Kind::Logarithmic => {
                let smallest = values.iter().copied().fold(largest, f64::min);
                Self::logarithmic(smallest, largest)
            }
        }
    }

    fn linear(largest: f64) -> Self {
        let step = round_numbers(largest / MOST_TICKS as f64)
            .find(|step| largest / step <= MOST_TICKS as f64 - 1.0)
            .unwrap_or(largest);
        let count = (largest / step).ceil().max(1.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|number| number as f64 * step).collect();
        Self { kind: Kind::Linear, low: 0.0, high: count as f64 * step, ticks }
    }

    fn logarithmic(smallest: f64, largest: f64) -> Self {
        let below = round_numbers(smallest).take_while(|number| *number <= smallest * (1.0 + 1e-9)).last();
        let low = below.unwrap_or(smallest);
        let mut ticks = Vec::new();
        for number in round_numbers(low).skip_while(|number| *number < low * (1.0 - 1e-9)) {
            ticks.push(number);
            if number >= largest * (1.0 - 1e-9) && ticks.len() > 1 {
                break;
            }
        }
        let high = ticks.last().copied().unwrap_or(largest);
        if ticks.len() > MOST_TICKS {
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9);
        }
        let ticks = ticks.into_iter().map(f64::log10).collect();
        Self { kind: Kind::Logarithmic, low: low.log10(), high: high.log10(), ticks }
    }

    /// Nothing for what has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        match self.kind {
            Kind::Linear => Some(value),
            Kind::Logarithmic => (value > 0.0).then(|| value.log10()),
        }
    }

    pub(super) fn label(&self, place: f64) -> String {
        let value = match self.kind {
            Kind::Linear => place,
            Kind::Logarithmic => 10_f64.powf(place),
        };
        let (value, unit) = match value {
            large if large >= 999_999.5 => (large / 1e6, "M"),
            large if large >= 9_999.5 => (large / 1e3, "k"),
            small => (small, ""),
        };
        // Three digits say where a tick is; the rest is rounding.
        let digits = if value >= 10.0 || value == 0.0 { 0 } else { 2 };
        let text = format!("{value:.digits$}");
        let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{text}{unit}")
    }
}

/// 1, 2, 5, 10, 20 …, from the power of ten below `from`.
fn round_numbers(from: f64) -> impl Iterator<Item = f64> {
    let first = (from.log10() + 1e-9).floor() as i32;
    (first..first + 40).flat_map(|power| STEPS.map(|step| step * 10_f64.powi(power)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks.iter().map(|tick| scale.label(*tick)).collect()
    }

    #[test]
    fn a_linear_axis_goes_from_zero_to_a_round_number_that_holds_all() {
        let scale = Scale::over(Kind::Linear, [3.0, 71.0, 12.0]);
        assert_eq!((scale.low, scale.high), (0.0, 80.0));
        assert_eq!(labels(&scale), ["0", "10", "20", "30", "40", "50", "60", "70", "80"]);
        let scale = Scale::over(Kind::Linear, [0.71]);
        assert!((scale.high - 0.8).abs() < 1e-9, "{scale:?}");
        assert_eq!(labels(&scale)[1], "0.1");
    }

    #[test]
    fn a_logarithmic_axis_goes_from_one_round_number_to_another() {
        let scale = Scale::over(Kind::Logarithmic, [1.0, 4.0, 16.0, 64.0]);
        assert_eq!(labels(&scale), ["1", "2", "5", "10", "20", "50", "100"]);
        let scale = Scale::over(Kind::Logarithmic, [3.0, 30.0]);
        assert_eq!(labels(&scale), ["2", "5", "10", "20", "50"]);
    }

    #[test]
    fn a_long_logarithmic_axis_has_only_powers_of_ten() {
        let scale = Scale::over(Kind::Logarithmic, [100.0, 1e7]);
        assert_eq!(labels(&scale), ["100", "1000", "10k", "100k", "1M", "10M"]);
    }

    #[test]
    fn every_value_lies_between_the_ends() {
        for kind in [Kind::Linear, Kind::Logarithmic] {
            for largest in [0.004, 0.99, 1.0, 7.0, 99.9, 100.0, 1234.0, 5e6] {
                let values = [largest / 37.0, largest];
                let scale = Scale::over(kind, values);
                for place in values.into_iter().filter_map(|value| scale.place(value)) {
                    let inside = scale.low - 1e-9..=scale.high + 1e-9;
                    assert!(inside.contains(&place), "{kind:?} {largest}: {place} not in {scale:?}");
                }
                assert!(scale.high > scale.low && scale.ticks.len() <= 2 * MOST_TICKS, "{scale:?}");
            }
        }
    }

    #[test]
    fn zero_has_no_place_on_a_logarithmic_axis_and_does_not_stretch_it() {
        let scale = Scale::over(Kind::Logarithmic, [0.0, 10.0, 100.0]);
        assert_eq!(scale.place(0.0), None);
        assert_eq!(labels(&scale), ["10", "20", "50", "100"]);
    }

    #[test]
    fn an_axis_for_one_value_or_none_has_a_length() {
        for kind in [Kind::Linear, Kind::Logarithmic] {
            for values in [vec![10.0], vec![0.0], vec![]] {
                let scale = Scale::over(kind, values);
                assert!(scale.high > scale.low && scale.low.is_finite(), "{scale:?}");
            }
        }
    }
}
