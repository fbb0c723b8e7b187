//! What simulations draw from their seeds.

use crate::time::Random;

/// Choices that follow from a seed.
pub(super) trait Draw {
    /// A number below the bound, which is not zero.
    fn below(&mut self, bound: usize) -> usize;

    /// Whether it happens that happens once in so many times.
    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// One of these, if there are any.
    fn one_of<T: Copy>(&mut self, options: &[T]) -> Option<T> {
        (!options.is_empty()).then(|| options[self.below(options.len())])
    }

    /// One of these, each as often as its weight says beside the others.
    fn weighted<T: Copy>(&mut self, options: &[(T, u64)]) -> T {
        let total: u64 = options.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.below(total as usize) as u64;
        for (option, weight) in options {
            match drawn.checked_sub(*weight) {
                None => return *option,
                Some(rest) => drawn = rest,
            }
        }
        unreachable!("what was drawn is below the total")
    }

    /// The weather of a run: what is rare in one is common in another. What `must` happen is never
    /// left out.
    fn weather<T: Copy>(&mut self, usual: &[(T, u64)], must: impl Fn(T) -> bool) -> Vec<(T, u64)> {
        let weigh = |(option, weight): &(T, u64)| {
            let often = [usize::from(must(*option)), 1, 3][self.below(3)];
            (*option, weight * often as u64)
        };
        usual.iter().map(weigh).collect()
    }
}

impl Draw for Random {
    fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }
}
