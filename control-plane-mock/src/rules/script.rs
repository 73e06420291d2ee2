//! The rules in force, in order: the first that matches is carried out.

use serde::Serialize;

use super::{Action, Matches, Rule};
use crate::Kind;

#[derive(Debug, Default)]
pub(crate) struct Script {
    lines: Vec<ScriptLine>,
}

/// A rule and what became of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScriptLine {
    #[serde(flatten)]
    rule: Rule,
    /// How often it was carried out.
    fired: u32,
    #[serde(skip)]
    draws: Draws,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'call> {
    pub(crate) kind: Kind,
    pub(crate) execution_id: Option<&'call str>,
    pub(crate) path: &'call str,
}

impl Script {
    /// The rule has been checked.
    pub(crate) fn add(&mut self, rule: Rule) {
        let draws = Draws(rule.seed);
        self.lines.push(ScriptLine { rule, fired: 0, draws });
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }

    pub(crate) fn lines(&self) -> &[ScriptLine] {
        &self.lines
    }

    /// What to do with this call, and after how many milliseconds.
    pub(crate) fn next(&mut self, call: Subject<'_>) -> Option<(Action, u64)> {
        let line = self.lines.iter_mut().find_map(|line| line.takes(call).then_some(line))?;
        line.fired = line.fired.saturating_add(1);
        Some((line.rule.action.clone(), line.rule.after_ms))
    }
}

impl ScriptLine {
    fn takes(&mut self, call: Subject<'_>) -> bool {
        let open = self.rule.times.is_none_or(|times| self.fired < times);
        open && self.rule.matches.fit(call)
            && self.rule.probability.is_none_or(|probability| self.draws.next() < probability)
    }
}

impl Matches {
    fn fit(&self, call: Subject<'_>) -> bool {
        let execution = self.execution_id.as_deref();
        self.kind.is_none_or(|kind| kind == call.kind)
            && (execution.is_none() || execution == call.execution_id)
            && self.path.as_deref().is_none_or(|path| path == call.path)
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): enough to spread failures, and the same on every machine.
#[derive(Debug, Clone)]
struct Draws(u64);

impl Draws {
    /// At least 0, less than 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The upper 32 bits, which an f64 holds exactly.
        f64::from(u32::try_from(mixed >> 32).expect("32 bits are left")) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Subject<'static> = Subject {
        kind: Kind::Result,
        execution_id: Some("exec_1"),
        path: "/internal/executions/exec_1/result",
    };

    fn words(script: &mut Script, calls: usize) -> Vec<Option<&'static str>> {
        (0..calls).map(|_| script.next(CALL).map(|(action, _)| action.word())).collect()
    }

    #[test]
    fn the_first_matching_rule_that_is_not_used_up_wins() {
        let mut script = Script::default();
        script.add(Rule::new(Action::Hold).of_kind(Kind::Heartbeat));
        script.add(Rule::new(Action::Hold).of_execution("exec_2"));
        script.add(Rule::new(Action::Reset).of_kind(Kind::Result).of_execution("exec_1").times(2));
        script.add(Rule::new(Action::CloseMidAnswer).times(1));
        assert_eq!(words(&mut script, 4), [Some("reset"), Some("reset"), Some("close_mid_answer"), None]);
        script.clear();
        assert_eq!(words(&mut script, 1), [None]);
    }

    #[test]
    fn a_probability_is_kept_to_and_repeats_with_its_seed() {
        let drawn = |seed| {
            let mut script = Script::default();
            script.add(Rule::new(Action::Reset).with_probability(0.3, seed));
            words(&mut script, 10_000)
        };
        let hits = drawn(7).iter().flatten().count();
        assert!((2_800..3_200).contains(&hits), "{hits} of 10,000");
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn never_and_always_are_exact() {
        for (probability, hits) in [(0.0, 0), (1.0, 1_000)] {
            let mut script = Script::default();
            script.add(Rule::new(Action::Reset).with_probability(probability, 1));
            assert_eq!(words(&mut script, 1_000).iter().flatten().count(), hits);
        }
    }
}
