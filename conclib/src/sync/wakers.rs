//! Wakers of tasks that wait for one event.

use std::task::Waker;

/// The place of a waker in a [`WakerSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WakerKey(u64);

/// The wakers of the tasks that wait for one event. In a box, because most events are waited for by
/// no task.
///
/// Wakers are foreign code: they are handed out, to be woken and dropped outside of locks.
#[derive(Default)]
pub(crate) struct WakerSet(Option<Box<Entries>>);

#[derive(Default)]
struct Entries {
    wakers: Vec<(WakerKey, Waker)>,
    next_key: u64,
}

impl WakerSet {
    /// Keeps a waker under its key, or under a new one. Returns the waker that it replaces.
    pub(crate) fn insert(&mut self, key: &mut Option<WakerKey>, waker: &Waker) -> Option<Waker> {
        let entries = self.0.get_or_insert_default();
        let kept = entries
            .wakers
            .iter_mut()
            .find(|(other, _)| Some(*other) == *key);
        match kept {
            Some((_, kept)) if kept.will_wake(waker) => None,
            Some((_, kept)) => Some(std::mem::replace(kept, waker.clone())),
            None => {
                let new = WakerKey(entries.next_key);
                entries.next_key += 1;
                entries.wakers.push((new, waker.clone()));
                *key = Some(new);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: WakerKey) -> Option<Waker> {
        let wakers = &mut self.0.as_mut()?.wakers;
        let place = wakers.iter().position(|(other, _)| *other == key)?;
        Some(wakers.swap_remove(place).1)
    }

    /// Takes all wakers out, to be woken.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    #[inline]
    pub(crate) fn wake(self) {
        if let Some(entries) = self.0 {
            let wakers = entries.wakers.into_iter();
            wakers.for_each(|(_, waker)| waker.wake());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_has_one_waker_and_removes_it() {
        let mut wakers = WakerSet::default();
        let (mut one, mut other) = (None, None);
        for _ in 0..3 {
            drop(wakers.insert(&mut one, Waker::noop()));
            drop(wakers.insert(&mut other, Waker::noop()));
        }
        assert_ne!(one, other);
        assert_eq!(wakers.0.as_ref().unwrap().wakers.len(), 2);
        assert!(wakers.remove(one.unwrap()).is_some());
        assert!(wakers.remove(one.unwrap()).is_none());
        assert_eq!(wakers.0.as_ref().unwrap().wakers.len(), 1);
    }

    #[test]
    fn empty_set_is_one_word() {
        assert_eq!(size_of::<WakerSet>(), size_of::<usize>());
    }
}
