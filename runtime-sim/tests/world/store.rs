//! What the shared object store promises, and what it does not.

use std::time::Duration;

use bytes::Bytes;
use waltz_runtime_sim::{Chance, StoreError, simulate};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn what_was_stored_is_listed_and_read_back_also_after_the_store_was_away() {
    simulate(1, LIMIT, |world| async move {
        let store = world.store();
        for name in ["a/2", "a/1", "b/1"] {
            store.put(name, Bytes::from(name)).await.unwrap();
        }
        store.change_quality(|quality| quality.is_away = true);
        assert_eq!(store.get("a/1").await, Err(StoreError::Away));
        assert_eq!(store.list("a/").await, Err(StoreError::Away));
        assert_eq!(store.put("a/3", Bytes::new()).await, Err(StoreError::Away));
        world.calm();
        assert_eq!(store.list("a/").await.unwrap(), ["a/1", "a/2"]);
        assert_eq!(store.get("a/2").await.unwrap(), "a/2");
        assert_eq!(store.get("a/3").await, Err(StoreError::Absent));
    });
}

#[test]
fn what_failed_to_be_stored_may_be_there_and_is_whole_then() {
    simulate(2, LIMIT, |world| async move {
        let store = world.store();
        store.change_quality(|quality| quality.failing = Chance::ALWAYS);
        for object in 0..100 {
            let stored = store.put(&format!("{object:03}"), Bytes::from_static(b"whole")).await;
            assert_eq!(stored, Err(StoreError::Failed));
        }
        world.calm();
        let names = store.list("").await.unwrap();
        assert!((20..80).contains(&names.len()), "{} of 100", names.len());
        for name in names {
            assert_eq!(store.get(&name).await.unwrap(), "whole");
        }
    });
}
