//! Ids that clients have heard at another server and that were not posted here yet. With Redis, one server may be ahead
//! of another one; for long, if the other one cannot reach Redis. But Redis may also have lost the message of such an
//! id, or never have had it. No clock tells these cases apart. Redis does: once everything that it has is posted here,
//! an id that is still missing will not come.

use std::collections::VecDeque;

/// The most ids that are remembered of each kind.
const MOST: usize = 1000;

/// Ids that clients have asked for and that are newer than all that was posted here.
#[derive(Default)]
pub struct Ahead {
    /// Asked for since Redis was last asked for everything.
    asked: Vec<u64>,
    /// Asked for before that.
    doubted: Vec<u64>,
    /// Redis does not have them.
    unknown: VecDeque<u64>,
}

impl Ahead {
    /// Whether the message of this `id`, which is not posted here yet, may still come.
    pub fn may_come(&mut self, id: u64) -> bool {
        let may_come = !self.unknown.contains(&id);
        if may_come && self.asked.len() < MOST && !self.asked.contains(&id) {
            self.asked.push(id);
        }
        may_come
    }

    /// Notes that everything is posted, up to the id `last`, that Redis had when it was last asked. Returns the ids
    /// that will not come: a client had heard them before Redis was asked.
    pub fn confirm(&mut self, last: u64) -> Vec<u64> {
        let mut unknown = std::mem::replace(&mut self.doubted, std::mem::take(&mut self.asked));
        unknown.retain(|id| *id > last);
        self.unknown.extend(&unknown);
        self.unknown.drain(..self.unknown.len().saturating_sub(MOST));
        unknown
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_asked_for_before_redis_was_and_does_not_come_is_unknown() {
        let mut ahead = Ahead::default();
        assert!(ahead.may_come(20) && ahead.may_come(30) && ahead.may_come(20));
        assert_eq!(ahead.confirm(10), [0u64; 0], "it may have been said after Redis was asked");
        assert!(ahead.may_come(40));
        assert_eq!(ahead.confirm(20), [30]);
        assert!(!ahead.may_come(30) && ahead.may_come(40));
        assert_eq!(ahead.confirm(20), [40]);
    }

    #[test]
    fn so_many_ids_are_remembered() {
        let mut ahead = Ahead::default();
        for first in [1_000, 10_000, 20_000] {
            assert!((first..first + 2 * MOST as u64).all(|id| ahead.may_come(id)));
            ahead.confirm(0);
        }
        assert_eq!((ahead.asked.len(), ahead.doubted.len(), ahead.unknown.len()), (0, MOST, MOST));
    }
}
