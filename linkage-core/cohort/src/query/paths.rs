//! Paths between services: which parties a unit met, in the order of first meeting.
//!
//! A path begins with the first month held and grows when a party meets the unit for the first time; parties that first
//! meet it in the same month make one step together. Three steps are kept. Paths stand in a tree, so that a unit bears
//! one number, which changes only when a step is added.

use std::collections::HashMap;

use linkage_agreement::PartyId;

/// Most steps of a path.
const MAX_STEPS: u8 = 3;

/// Parties that first meet a unit in the same month, as bits by position.
struct Node {
    before: u32,
    step: u64,
    /// All parties met so far.
    met: u64,
    steps: u8,
}

/// Every path met.
pub(crate) struct Paths {
    nodes: Vec<Node>,
    next: HashMap<(u32, u64), u32>,
}

impl Paths {
    /// The empty path alone, which is number 0.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node { before: 0, step: 0, met: 0, steps: 0 }], next: HashMap::new() }
    }

    /// Number of paths.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The path after a month with records at the parties of `mask`.
    pub(crate) fn after(&mut self, path: u32, mask: u64) -> u32 {
        let Some(node) = self.nodes.get(path as usize) else { return path };
        let step = mask & !node.met;
        if step == 0 || node.steps >= MAX_STEPS {
            return path;
        }
        let (met, steps) = (node.met | step, node.steps + 1);
        *self.next.entry((path, step)).or_insert_with(|| {
            self.nodes.push(Node { before: path, step, met, steps });
            (self.nodes.len() - 1) as u32
        })
    }

    /// Steps of a path and their names, `a > b&c`; no step for the empty one.
    pub(crate) fn name(&self, path: u32, parties: &[PartyId]) -> (usize, String) {
        let mut steps = Vec::new();
        let mut at = path;
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.steps > 0) {
            steps.push(joined(node.step, parties, "&"));
            at = node.before;
        }
        steps.reverse();
        (steps.len(), steps.join(" > "))
    }
}

/// The parties of `mask` in order.
pub(crate) fn joined(mask: u64, parties: &[PartyId], by: &str) -> String {
    let inside = |at: &usize| mask.checked_shr(*at as u32).is_some_and(|rest| rest & 1 == 1);
    let names: Vec<&str> = parties.iter().enumerate().filter(|(at, _)| inside(at)).map(|(_, p)| p.as_str()).collect();
    names.join(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_by_parties_not_met_before() {
        let parties = ["a", "b", "c", "d", "e"].map(|p| p.parse().unwrap());
        let mut paths = Paths::new();
        let mut path = 0;
        for (mask, name) in
            [(0, ""), (1, "a"), (1, "a"), (0, "a"), (0b111, "a > b&c"), (0b1001, "a > b&c > d"), (0b10000, "a > b&c > d")]
        {
            path = paths.after(path, mask);
            assert_eq!(paths.name(path, &parties).1, name);
        }
        assert_eq!(paths.name(path, &parties).0, 3);
        assert_eq!(paths.after(0, 1), 1);
        assert_eq!(paths.len(), 4);
    }
}
