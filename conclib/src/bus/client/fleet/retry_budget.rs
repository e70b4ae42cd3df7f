//! The budget of repetitions after overload: an overloaded fleet must not get more requests because it is
//! overloaded. No I/O.

/// The units that each request adds. A repetition costs [`PRICE`] of them, so one in ten requests may be repeated.
const EARNED: u32 = 1;

/// The price of a repetition.
const PRICE: u32 = 10;

/// The largest saving: after a calm time that many repetitions may follow each other.
const MAX_SAVED: u32 = 100 * PRICE;

/// Repetitions of requests to shared names that members have refused as overloaded.
#[derive(Debug)]
pub(super) struct RetryBudget {
    saved: u32,
}

impl Default for RetryBudget {
    /// A few repetitions are free, so that a client with few requests has some.
    fn default() -> Self {
        Self { saved: 10 * PRICE }
    }
}

impl RetryBudget {
    /// Records a request.
    pub(super) fn earn(&mut self) {
        self.saved = (self.saved + EARNED).min(MAX_SAVED);
    }

    /// Takes a repetition from the budget; false if there is none left.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.saved.checked_sub(PRICE);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_requests_is_repeated() {
        let mut budget = RetryBudget::default();
        while budget.spend() {}
        let repeated = (0..1_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(repeated.count(), 100);
        (0..1_000_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100);
    }
}
