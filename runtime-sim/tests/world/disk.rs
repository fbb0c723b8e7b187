//! What a disk keeps, loses and damages.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use crate::peer::{HOUR, address, boot};
use bytes::Bytes;
use waltz_runtime::disk::{Disk, ReadDisk};
use waltz_runtime_sim::{Chance, Crash, DiskQuality, SimDisk, simulate};

const LENGTH: usize = 4096;

fn full_of(byte: u8) -> Bytes {
    vec![byte; LENGTH].into()
}

fn whole(disk: &mut SimDisk, name: &str) -> Bytes {
    let (file, length) = disk.open(name).expect("the file is there");
    disk.read_at(&file, 0, length as usize).expect("the file reads")
}

/// Writes 1s and syncs them, writes 2s and does not, crashes, and returns what is left.
fn left_after(seed: u64, crash: Crash) -> Bytes {
    simulate(seed, HOUR, move |world| async move {
        let mut disk = boot(&world, "a").disk();
        let file = disk.create_zeroed("file", LENGTH as u64).expect("there is room");
        disk.write_at(&file, 0, &[full_of(1)]).expect("the disk is sound");
        disk.sync(&file).expect("the disk is sound");
        disk.write_at(&file, 0, &[full_of(2).slice(..100), full_of(2).slice(100..)])
            .expect("the disk is sound");
        world.crash(&address("a"), crash);
        whole(&mut boot(&world, "a").disk(), "file")
    })
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    assert_eq!(left_after(1, Crash::Process), full_of(2));
}

#[test]
fn a_loss_of_power_keeps_what_was_synced_and_keeps_loses_or_tears_the_rest() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        let left = left_after(seed, Crash::Power);
        assert!(left.iter().all(|byte| [1, 2].contains(byte)), "seed {seed}");
        let sectors: Vec<_> = left.chunks(512).map(|sector| sector[0]).collect();
        let is_whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(left.chunks(512).all(is_whole), "seed {seed}");
        outcomes.insert(match () {
            () if left == full_of(1) => "lost",
            () if left == full_of(2) => "kept",
            () if sectors.is_sorted_by(|earlier, later| earlier >= later) => "torn",
            () => "reordered",
        });
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[test]
fn what_a_kill_left_in_the_page_cache_is_lost_with_the_power() {
    let lost = |seed| {
        simulate(seed, HOUR, |world| async move {
            let mut disk = boot(&world, "a").disk();
            let file = disk.create_zeroed("file", LENGTH as u64).expect("there is room");
            disk.write_at(&file, 0, &[full_of(2)]).expect("the disk is sound");
            world.crash(&address("a"), Crash::Process);
            assert_eq!(whole(&mut boot(&world, "a").disk(), "file"), full_of(2));
            world.crash(&address("a"), Crash::Power);
            whole(&mut boot(&world, "a").disk(), "file") == full_of(0)
        })
    };
    assert!((0..20).any(lost));
    assert!(!(0..20).all(lost));
}

#[test]
fn a_sync_that_failed_loses_what_the_next_one_seems_to_save() {
    let lost = |seed| {
        simulate(seed, HOUR, |world| async move {
            let mut disk = boot(&world, "a").disk();
            let file = disk.create_zeroed("file", LENGTH as u64).expect("there is room");
            disk.write_at(&file, 0, &[full_of(2)]).expect("the disk is sound");
            let failing = DiskQuality { failing_sync: Chance::ALWAYS, ..DiskQuality::default() };
            world.disks().set_quality(&address("a"), failing);
            disk.sync(&file).expect_err("syncs fail");
            world.disks().calm();
            disk.sync(&file).expect("the disk is sound again");
            assert_eq!(whole(&mut disk, "file"), full_of(2), "the cache still shows it");
            world.crash(&address("a"), Crash::Power);
            whole(&mut boot(&world, "a").disk(), "file") != full_of(2)
        })
    };
    assert!((0..10).any(lost));
}

#[test]
fn faults_strike_the_operation_they_name() {
    simulate(2, HOUR, |world| async move {
        let mut disk = boot(&world, "a").disk();
        let sound = DiskQuality::default();
        let file = disk.create_zeroed("file", 10).expect("there is room");
        let mut outcomes = |quality| {
            world.disks().set_quality(&address("a"), quality);
            [
                disk.create_zeroed("other", 10).is_ok(),
                disk.write_at(&file, 0, &[Bytes::from_static(b"x")]).is_ok(),
                disk.sync(&file).is_ok(),
                disk.read_at(&file, 0, 1).is_ok(),
            ]
        };
        let always = Chance::ALWAYS;
        assert_eq!(outcomes(sound), [true; 4]);
        assert_eq!(
            outcomes(DiskQuality { capacity_bytes: 25, ..sound }),
            [false, true, true, true]
        );
        assert_eq!(
            outcomes(DiskQuality { failing_write: always, ..sound }),
            [true, false, true, true]
        );
        assert_eq!(
            outcomes(DiskQuality { failing_sync: always, ..sound }),
            [true, true, false, true]
        );
        assert_eq!(
            outcomes(DiskQuality { failing_read: always, ..sound }),
            [true, true, true, false]
        );
    });
}

#[test]
fn a_disk_is_refused_to_an_earlier_life_of_its_host() {
    simulate(3, HOUR, |world| async move {
        let mut old = boot(&world, "a").disk();
        let file = old.create_zeroed("file", 10).expect("there is room");
        world.crash(&address("a"), Crash::Process);
        let mut new = boot(&world, "a").disk();
        old.write_at(&file, 0, &[Bytes::from_static(b"x")]).expect_err("its process is dead");
        old.remove("file").expect_err("its process is dead");
        assert_eq!(whole(&mut new, "file"), vec![0; 10]);
    });
}

#[test]
fn names_follow_their_files() {
    simulate(4, HOUR, |world| async move {
        let mut disk = boot(&world, "a").disk();
        let file = disk.create_zeroed("spare", 4).expect("there is room");
        disk.create_zeroed("old", 9).expect("there is room");
        disk.rename("spare", "old").expect("both are there");
        disk.write_at(&file, 0, &[Bytes::from_static(b"kept")]).expect("the handle still holds");
        assert_eq!(disk.list().expect("the disk is sound"), ["old"]);
        assert_eq!(whole(&mut disk, "old"), "kept");
        assert_eq!(world.disks().files(&address("a")), [("old".to_owned(), 4)]);
        disk.remove("old").expect("it is there");
        assert_eq!(disk.open("old").expect_err("it is gone").kind(), ErrorKind::NotFound);
        assert_eq!(disk.remove("old").expect_err("it is gone").kind(), ErrorKind::NotFound);
        disk.read_at(&file, 0, 1).expect_err("its file is gone");
    });
}

#[test]
fn rot_is_there_at_once_and_for_good() {
    simulate(5, HOUR, |world| async move {
        let host = address("a");
        let mut disk = boot(&world, "a").disk();
        let file = disk.create_zeroed("file", 2048).expect("there is room");
        disk.write_at(&file, 512, &[vec![7; 512].into()]).expect("the disk is sound");
        disk.sync(&file).expect("the disk is sound");
        world.disks().misdirect(&host, "file", 512, 1024).expect("both sectors exist");
        world.disks().flip(&host, "file", 3, 1).expect("the byte exists");
        world.disks().flip(&host, "file", 2048, 1).expect_err("the byte is past the end");
        world.disks().misdirect(&host, "file", 0, 1600).expect_err("half a sector");
        for crash in [Crash::Process, Crash::Power] {
            let content = whole(&mut boot(&world, "a").disk(), "file");
            assert_eq!((content[2], content[3], content[4]), (0, 2, 0));
            assert_eq!(content[512..1536], [7; 1024]);
            world.crash(&host, crash);
        }
        world.disks().replace(&host);
        assert_eq!(boot(&world, "a").disk().list().expect("the disk is sound"), [""; 0]);
    });
}
