//! What shall wait: the same as the last requests asked for. Pure, so that it can be read and tested by itself.

use std::collections::VecDeque;

/// The last wishes of one language, oldest first; as many as sandboxes may wait.
#[derive(Debug)]
pub(super) struct Window<W> {
    size: usize,
    asked: VecDeque<W>,
}

impl<W: Clone + PartialEq> Window<W> {
    /// As if `usual` had been asked for in turns, the first of them last.
    pub(super) fn new(size: usize, usual: &[W]) -> Self {
        let mut asked: VecDeque<W> = usual.iter().cycle().take(size).cloned().collect();
        asked.make_contiguous().reverse();
        Self { size, asked }
    }

    pub(super) fn ask(&mut self, wish: W) {
        self.asked.push_back(wish);
        while self.asked.len() > self.size {
            self.asked.pop_front();
        }
    }

    /// It cannot be had any more.
    pub(super) fn forget(&mut self, wish: &W) {
        self.asked.retain(|asked| asked != wish);
    }

    /// What was asked for most recently, of what does not wait as often as it was asked for.
    pub(super) fn missing(&self, waiting: &[&W]) -> Option<W> {
        let count = |of: &mut dyn Iterator<Item = &W>, wish: &W| of.filter(|other| *other == wish).count();
        let is_missing =
            |wish: &&W| count(&mut waiting.iter().copied(), wish) < count(&mut self.asked.iter(), wish);
        self.asked.iter().rev().find(is_missing).cloned()
    }

    /// Which of those that wait is there more often than it was asked for.
    pub(super) fn surplus(&self, waiting: &[&W]) -> Option<usize> {
        (0..waiting.len()).find(|&at| {
            let before = waiting[..at].iter().filter(|other| *other == &waiting[at]).count();
            before >= self.asked.iter().filter(|asked| asked == &waiting[at]).count()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brings what waits in line, as the pool does.
    fn settled(window: &Window<char>, mut waiting: Vec<char>) -> String {
        while let Some(at) = window.surplus(&waiting.iter().collect::<Vec<_>>()) {
            waiting.remove(at);
        }
        while let Some(wish) = window.missing(&waiting.iter().collect::<Vec<_>>()) {
            waiting.push(wish);
        }
        waiting.sort_unstable();
        waiting.into_iter().collect()
    }

    #[test]
    fn at_first_the_usual_waits_in_turns() {
        let at_first = |size| settled(&Window::new(size, &['c', 'f']), Vec::new());
        assert_eq!([0, 1, 2, 3, 4].map(at_first), ["", "c", "cf", "ccf", "ccff"]);
        assert_eq!(settled(&Window::new(2, &[]), Vec::new()), "");
        assert_eq!(
            Window::new(2, &['c', 'f']).missing(&[]),
            Some('c'),
            "what is asked for without a word is first"
        );
    }

    #[test]
    fn what_waits_follows_what_is_asked_for() {
        let mut window = Window::new(3, &['c', 'f']);
        window.ask('s');
        assert_eq!(window.missing(&[&'c', &'f']), Some('s'));
        assert_eq!(settled(&window, vec!['c', 'c', 'f']), "cfs");
        window.ask('s');
        window.ask('s');
        assert_eq!(settled(&window, vec!['c', 'f', 's']), "sss");
        window.forget(&'s');
        assert_eq!(settled(&window, vec!['s', 's', 's']), "");
    }

    #[test]
    fn without_room_nothing_waits() {
        let mut window = Window::new(0, &['c']);
        window.ask('c');
        assert_eq!(settled(&window, vec!['c']), "");
    }
}
