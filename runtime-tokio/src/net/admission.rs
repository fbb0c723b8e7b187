//! Who is let in: how many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts accepted connections from before their handshake until they are closed for good.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place among those there may be; dropped with it.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, open: Mutex::default() })
    }

    /// A place for one more connection from there, or why there is none.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Place, String> {
        let mut open = self.lock();
        if open.total >= self.most {
            return Err(format!("there are {} connections, as many as may be", self.most));
        }
        let here = open.by_address.entry(address).or_default();
        if *here >= self.most_per_address {
            let most = self.most_per_address;
            return Err(format!("{most} connections are from there, as many as may be"));
        }
        *here += 1;
        open.total += 1;
        drop(open);
        Ok(Place { admission: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, and if it did the counts would still be whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.total -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_an_address_and_come_back() {
        let admission = Admission::new(3, 2);
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let first = admission.admit(address(1)).unwrap();
        let second = admission.admit(address(1)).unwrap();
        assert!(admission.admit(address(1)).unwrap_err().contains("from there"));
        let third = admission.admit(address(2)).unwrap();
        assert!(admission.admit(address(3)).unwrap_err().contains("there are 3"));
        drop(first);
        let fourth = admission.admit(address(1)).unwrap();
        drop((second, third, fourth));
        assert!(admission.lock().by_address.is_empty(), "nothing is kept of who has left");
    }
}
