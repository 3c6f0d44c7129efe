//! What only a database server can do to a store: restart under it, be set back,
//! be shared, be set up wrongly.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Bed, payload, put, resource, row, sealed};
use holdfast_base::{Category, CommitNumber, MessageId};
use holdfast_store::{
    CommitError, MigrateError, MigrateProgress, OpenError, Precondition, Store, StoreLocation,
    Table,
};
use holdfast_testkit_postgres::Postgres;

/// Commits one more version of `token`'s resource, whatever the database does, and
/// says how often it was told that the engine is away.
fn commit_next(store: &Store, token: u8, version: u64) -> u64 {
    let key = resource(1, token, 1, token);
    let mut turned_away = 0;
    loop {
        let mut transaction = put(key, sealed(version, version as u8, 900));
        let expected = (version > 1).then_some(version - 1);
        transaction.preconditions.push(Precondition::CurrentVersion { key, expected });
        transaction.rows.push(row(Table::Link, &[token], Some(&version.to_be_bytes())));
        match store.commit(transaction) {
            Ok(_) => return turned_away,
            Err(error @ CommitError::Away) => {
                assert_eq!(error.category(), Category::Busy);
                turned_away += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn p14_a_database_that_restarts_under_load_loses_and_doubles_nothing() {
    const WRITERS: u8 = 3;
    const RESTARTS: u64 = 6;
    let Some(server) = Postgres::start() else { return };
    let bed = Bed::on(&server);
    let store = bed.open();
    let done = AtomicBool::new(false);
    let (acknowledged, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
    let versions: Vec<u64> = std::thread::scope(|scope| {
        let (store, done, acknowledged, turned_away) = (&store, &done, &acknowledged, &turned_away);
        let writers: Vec<_> = (0..WRITERS)
            .map(|token| {
                scope.spawn(move || {
                    let mut version = 0;
                    while !done.load(Ordering::Acquire) {
                        version += 1;
                        turned_away
                            .fetch_add(commit_next(store, token, version), Ordering::Relaxed);
                        acknowledged.fetch_add(1, Ordering::Release);
                    }
                    version
                })
            })
            .collect();
        for round in 1..=RESTARTS {
            // Some commits between two restarts, so that they fall into work.
            let wanted = acknowledged.load(Ordering::Acquire) + 3 + round * 7;
            while acknowledged.load(Ordering::Acquire) < wanted {
                std::thread::yield_now();
            }
            server.restart_immediately();
        }
        let wanted = acknowledged.load(Ordering::Acquire) + 20;
        while acknowledged.load(Ordering::Acquire) < wanted {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    println!(
        "{} commits through {RESTARTS} restarts; turned away {} times",
        acknowledged.load(Ordering::Acquire),
        turned_away.load(Ordering::Acquire)
    );
    let check = |store: &Store| {
        // The preconditions let nothing be lost or applied twice unseen: every
        // version is one commit.
        assert_eq!(store.last_commit().0, CommitNumber(versions.iter().sum()));
        let report = store.check().unwrap();
        assert_eq!(report.versions_count, versions.iter().sum::<u64>());
        let snapshot = store.snapshot();
        for (token, newest) in (0..WRITERS).zip(&versions) {
            let history = snapshot.history(&resource(1, token, 1, token)).unwrap();
            let found: Vec<u64> = history.iter().map(|stored| stored.sealed.version).collect();
            assert_eq!(found, (1..=*newest).rev().collect::<Vec<_>>());
        }
    };
    check(&store);
    drop(store);
    check(&bed.open());
}

#[test]
fn reads_recover_by_themselves_and_a_pinned_snapshot_survives_a_restart() {
    let Some(server) = Postgres::start() else { return };
    let bed = Bed::on(&server);
    let store = bed.open();
    for version in 1..=3 {
        commit_next(&store, 1, version);
    }
    let pinned = store.snapshot();
    commit_next(&store, 1, 4);
    let key = resource(1, 1, 1, 1);
    let shown = |snapshot: &holdfast_store::Snapshot| {
        let row = snapshot.row(Table::Link, &[1])?;
        let version = snapshot.current_index(&key)?.map(|row| row.version);
        Ok::<_, holdfast_store::ReadError>((row.unwrap(), version.unwrap()))
    };
    let before = (3_u64.to_be_bytes().to_vec(), 3);
    assert_eq!(shown(&pinned).unwrap(), before);
    server.stop();
    let error = shown(&pinned).expect_err("nobody answers");
    assert_eq!(error.category(), Category::Busy, "{error}");
    let error = store.keep(&payload(1, 9)).expect_err("nobody answers");
    assert!(matches!(error, CommitError::Away), "{error}");
    server.start_again();
    assert_eq!(shown(&pinned).unwrap(), before, "pinned at t");
    assert_eq!(shown(&store.snapshot()).unwrap().1, 4);
    assert_eq!(store.keep(&payload(1, 9)).unwrap(), MessageId(1), "writes go on");
}

#[test]
fn a_second_server_on_the_same_database_is_refused() {
    let Some(bed) = Bed::postgres() else { return };
    let store = bed.open();
    // Of its own folder, as on another machine.
    let other = bed.with_folder(tempfile::tempdir().unwrap());
    match other.try_open() {
        Err(OpenError::InUse { dir }) => {
            assert!(dir.display().to_string().starts_with("postgres://"), "{}", dir.display());
        }
        other => panic!("{other:?}"),
    }
    commit_next(&store, 1, 1);
    drop(store);
    // A new machine before the old database goes on where the old one ended.
    let store = other.open();
    assert_eq!(store.last_commit().0, CommitNumber(1));
    commit_next(&store, 1, 2);
    drop(store);
    // And the old machine knows an older commit, which is there.
    assert_eq!(bed.open().last_commit().0, CommitNumber(2));
}

#[test]
fn a_server_whose_database_was_taken_over_writes_no_more() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let old = bed.open();
    commit_next(&old, 1, 1);
    let reader = old.snapshot();
    // The session with the lock ends, as behind a broken network, and another
    // server is quicker.
    let end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE 'holdfast-writer%'";
    assert_eq!(server.sql(bed.database(), end).trim(), "1");
    let new = bed.with_folder(tempfile::tempdir().unwrap()).open();
    commit_next(&new, 1, 2);
    let error = old.keep(&payload(1, 1)).expect_err("its turn is over");
    assert!(matches!(error, CommitError::Engine(_)), "{error}");
    assert!(matches!(old.keep(&payload(1, 1)), Err(CommitError::Stopped)));
    assert_eq!(new.last_commit().0, CommitNumber(2));
    assert_eq!(new.check().unwrap().messages_count, 0);
    assert_eq!(reader.commit(), CommitNumber(1));
}

#[test]
fn p14_a_database_that_was_set_back_is_refused() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let store = bed.open();
    commit_next(&store, 1, 1);
    drop(store);
    let copy = format!("{}_old", bed.database());
    server.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {}", bed.database()));
    let store = bed.open();
    commit_next(&store, 1, 2);
    drop(store);
    server.sql("postgres", &format!("DROP DATABASE {0}", bed.database()));
    let rename = format!("ALTER DATABASE {copy} RENAME TO {}", bed.database());
    server.sql("postgres", &rename);
    match bed.try_open() {
        Err(OpenError::Lost { acknowledged: CommitNumber(2), found: CommitNumber(1) }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_somebody_changed_or_deleted_in_the_tables_is_noticed() {
    let Some(server) = Postgres::shared() else { return };
    for (number, tampering) in [
        "DELETE FROM holdfast.bodies",
        "DELETE FROM holdfast.index WHERE key = (SELECT key FROM holdfast.index ORDER BY key LIMIT 1)",
        "DELETE FROM holdfast.commits WHERE key = (SELECT key FROM holdfast.commits ORDER BY key LIMIT 1)",
        "UPDATE holdfast.rows SET until = 1",
        "UPDATE holdfast.commits SET value = set_byte(value, 3, get_byte(value, 3) # 1)",
        "DELETE FROM holdfast.payloads",
        "DELETE FROM holdfast.store",
        "UPDATE holdfast.store SET batch = batch - 1",
    ]
    .into_iter()
    .enumerate()
    {
        let bed = Bed::on(server);
        let store = bed.open();
        for version in 1..=3 {
            commit_next(&store, 1, version);
        }
        store.keep(&payload(1, 9)).unwrap();
        drop(store);
        server.sql(bed.database(), tampering);
        assert!(bed.try_open().is_err(), "{number}: {tampering}");
    }
}

#[test]
fn p14_a_database_that_does_not_sync_commits_is_refused() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    drop(bed.open());
    for value in ["off", "local", "remote_write"] {
        let set = format!("ALTER DATABASE {} SET synchronous_commit = {value}", bed.database());
        server.sql("postgres", &set);
        let error = bed.try_open().expect_err(value);
        assert!(matches!(error, OpenError::Unfit { .. }), "{error}");
        assert!(error.to_string().contains("synchronous_commit"), "{error}");
    }
    let reset = format!("ALTER DATABASE {} RESET synchronous_commit", bed.database());
    server.sql("postgres", &reset);
    bed.open();
}

#[test]
fn a_folder_and_a_database_that_do_not_belong_together_are_refused() {
    let Some(server) = Postgres::shared() else { return };
    let (one, two) = (Bed::on(server), Bed::on(server));
    drop(one.open());
    drop(two.open());
    let crossed = StoreLocation::parse(&server.url(two.database()), one.dir.path()).unwrap();
    assert!(matches!(Store::open_at(&crossed), Err(OpenError::Elsewhere { .. })));
    // A folder of the embedded engine is none for a database, nor the other way.
    assert!(matches!(Store::open(one.dir.path()), Err(OpenError::Elsewhere { .. })));
    let embedded = Bed::embedded();
    drop(embedded.open());
    let third = server.create_database();
    let crossed = StoreLocation::parse(&third, embedded.dir.path()).unwrap();
    assert!(matches!(Store::open_at(&crossed), Err(OpenError::Elsewhere { .. })));
    // A newer schema is named.
    server.sql(one.database(), "UPDATE holdfast.store SET schema = 7");
    match one.try_open() {
        Err(OpenError::Schema { found: 7, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_nobody_can_see_any_more_are_swept() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let store = bed.open();
    let count = || -> u64 {
        server.sql(bed.database(), "SELECT count(*) FROM holdfast.rows").trim().parse().unwrap()
    };
    commit_next(&store, 1, 1);
    let pinned = store.snapshot();
    for version in 2..=150 {
        commit_next(&store, 1, version);
    }
    assert_eq!(pinned.row(Table::Link, &[1]).unwrap().unwrap(), 1_u64.to_be_bytes());
    assert_eq!(count(), 150, "the snapshot holds what it may look at");
    drop(pinned);
    for version in 151..=300 {
        commit_next(&store, 1, version);
    }
    assert!(count() < 150, "{}", count());
    drop(store);
    let store = bed.open();
    assert_eq!(count(), 1, "opening sweeps");
    assert_eq!(store.snapshot().row(Table::Link, &[1]).unwrap().unwrap(), 300_u64.to_be_bytes());
}

#[test]
fn rows_of_a_patient_are_in_one_shard_and_keys_come_first() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let store = bed.open();
    for token in 0..40 {
        commit_next(&store, token, 1);
        commit_next(&store, token, 2);
    }
    let shards = "SELECT count(*) FROM (SELECT substr(key, 1, 20) FROM \
                  (SELECT key, shard FROM holdfast.index UNION ALL \
                   SELECT key, shard FROM holdfast.bodies) AS rows \
                  GROUP BY 1 HAVING count(DISTINCT shard) > 1) AS scattered";
    assert_eq!(server.sql(bed.database(), shards).trim(), "0");
    let spread = "SELECT count(DISTINCT shard) > 20, min(shard) >= 0, max(shard) < 256 \
                  FROM holdfast.index";
    assert_eq!(server.sql(bed.database(), spread).trim(), "t|t|t");
    let primary = "SELECT indexdef FROM pg_indexes WHERE indexname = 'index_pkey'";
    assert!(server.sql(bed.database(), primary).contains("(key, shard, since)"));
}

/// The other half of the kill test: writes and says what is durable until it is
/// killed. Reads folder and URL from its standard input.
#[test]
#[ignore = "runs as a child of the kill test"]
fn child_writes_until_it_is_killed() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let Some((dir, url)) = line.trim().split_once(' ') else { return };
    let store = Store::open_at(&StoreLocation::parse(url, Path::new(dir)).unwrap()).unwrap();
    let found = store.snapshot().current_index(&resource(1, 1, 1, 1)).unwrap();
    for version in found.map_or(0, |row| row.version) + 1.. {
        commit_next(&store, 1, version);
        println!("\nack {version}");
    }
}

#[test]
fn p14_nothing_acknowledged_is_lost_when_the_server_process_is_killed() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let mut acknowledged = 0;
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let url = server.url(bed.database());
        writeln!(child.stdin.take().unwrap(), "{} {url}", bed.dir.path().display()).unwrap();
        let mut wanted = 1 + round * 11 % 30;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(version) = line.strip_prefix("ack ") else { continue };
            acknowledged = version.parse().unwrap();
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = bed.open();
        let CommitNumber(found) = store.last_commit().0;
        assert!(found >= acknowledged, "{acknowledged} was acknowledged, {found} is the newest");
        assert_eq!(store.check().unwrap().versions_count, found);
    }
    assert!(acknowledged > 6, "the children wrote something");
}

/// Everything that a store shows, to compare one place with another.
fn shown(store: &Store) -> String {
    let snapshot = store.snapshot();
    let histories: Vec<_> =
        (0..9).map(|token| snapshot.history(&resource(1, token, 1, token)).unwrap()).collect();
    let rows: Vec<_> = snapshot.scan_rows(Table::Link, &[]).map(Result::unwrap).collect();
    let kept: Vec<_> = snapshot.kept_range(MessageId(1)).map(Result::unwrap).collect();
    format!("{:?} {histories:?} {rows:?} {kept:?}", store.last_commit())
}

#[test]
fn a_store_moves_into_a_database_and_back_and_is_the_same() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let (inside, database) = (StoreLocation::Folder(bed.dir.path().to_owned()), bed.location());
    let store = Store::open_at(&inside).unwrap();
    for token in 0..9 {
        for version in 1..=4 {
            commit_next(&store, token, version);
        }
        store.keep(&payload(token, 300)).unwrap();
    }
    let before = shown(&store);
    assert!(matches!(
        Store::migrate(&inside, &database, &mut |_| ()),
        Err(MigrateError::Open(OpenError::InUse { .. }))
    ));
    drop(store);
    let out = Store::migrate(&inside, &database, &mut |_| ()).unwrap();
    assert!(matches!(Store::open_at(&inside), Err(OpenError::Elsewhere { .. })));
    let store = bed.open();
    assert_eq!(shown(&store), before);
    store.check().unwrap();
    commit_next(&store, 1, 5);
    let before = shown(&store);
    drop(store);
    let back = Store::migrate(&database, &inside, &mut |_| ()).unwrap();
    assert_ne!(back.digest, out.digest);
    assert!(matches!(bed.try_open(), Err(OpenError::Elsewhere { .. })));
    let store = Store::open_at(&inside).unwrap();
    assert_eq!(shown(&store), before);
    store.check().unwrap();
    commit_next(&store, 1, 6);
    drop(store);
    // Once more: what the database still has is a part of it, and is replaced.
    Store::migrate(&inside, &database, &mut |_| ()).unwrap();
    assert_eq!(bed.open().last_commit().0, CommitNumber(9 * 5 + 2));
}

#[test]
fn a_move_that_was_stopped_goes_on_and_a_copy_that_differs_is_not_used() {
    let Some(server) = Postgres::shared() else { return };
    let bed = Bed::on(server);
    let (inside, database) = (StoreLocation::Folder(bed.dir.path().to_owned()), bed.location());
    let store = Store::open_at(&inside).unwrap();
    for version in 1..=700 {
        commit_next(&store, 1, version);
    }
    let before = shown(&store);
    drop(store);
    let stop = |progress| {
        if progress == MigrateProgress::Copied(2048) {
            std::panic::resume_unwind(Box::new("stopped"));
        }
    };
    let half = || Store::migrate(&inside, &database, &mut { stop });
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(half));
    assert!(stopped.is_err(), "it had more to copy");
    assert!(matches!(bed.with_folder(tempfile::tempdir().unwrap()).try_open(),
        Err(OpenError::Unfit { what, .. }) if what.contains("migrate")));
    // Somebody touches the half of it that is there.
    let touch = "UPDATE holdfast.bodies SET value = set_byte(value, 40, 255 - get_byte(value, 40)) \
                 WHERE key = (SELECT key FROM holdfast.bodies ORDER BY key LIMIT 1)";
    server.sql(bed.database(), touch);
    let error = Store::migrate(&inside, &database, &mut |_| ()).expect_err("it differs");
    assert!(matches!(error, MigrateError::Differs { .. }), "{error}");
    assert_eq!(shown(&Store::open_at(&inside).unwrap()), before, "the source is as it was");
    server.sql(bed.database(), touch);
    let moved = Store::migrate(&inside, &database, &mut |_| ()).unwrap();
    assert!(moved.resumed_count >= 2048, "{moved:?}");
    assert_eq!(shown(&bed.open()), before);
    // Another store's database is left alone.
    let other = Bed::embedded();
    drop(other.open());
    let onto = StoreLocation::parse(&server.url(bed.database()), other.dir.path()).unwrap();
    let error = Store::migrate(&other.location(), &onto, &mut |_| ()).expect_err("occupied");
    assert!(matches!(error, MigrateError::Occupied { .. }), "{error}");
}

/// `docs/scale.md` shows this SQL: tables that the operator made beforehand, spread
/// by shard, are taken as they are.
#[test]
fn tables_that_the_operator_spread_by_shard_are_used_as_they_are() {
    let Some(server) = Postgres::shared() else { return };
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scale.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let begin = text.find("CREATE SCHEMA holdfast").expect("the guide has the SQL");
    let sql = &text[begin..begin + text[begin..].find("```").unwrap()];
    let bed = Bed::on(server);
    server.sql(bed.database(), sql);
    let store = bed.open();
    for token in 0..60 {
        for version in 1..=3 {
            commit_next(&store, token, version);
        }
    }
    let pinned = store.snapshot();
    commit_next(&store, 1, 4);
    assert_eq!(pinned.history(&resource(1, 1, 1, 1)).unwrap().len(), 3);
    assert_eq!(pinned.scan_rows(Table::Link, &[]).count(), 60);
    store.check().unwrap();
    drop(pinned);
    drop(store);
    assert_eq!(bed.open().check().unwrap().versions_count, 181);
    let spread = "SELECT count(DISTINCT tableoid) FROM holdfast.bodies";
    assert_eq!(server.sql(bed.database(), spread).trim(), "4");
}

#[test]
fn beyond_a_socket_the_servers_certificate_is_verified() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = own.signing_key.serialize_pem();
    let Some(server) = Postgres::start_with_tls(&own.cert.pem(), &key) else { return };
    drop(server.create_database());
    let dir = tempfile::tempdir().unwrap();
    let open = |host: &str, mode: &str| {
        let url = format!("postgres://holdfast@{host}:{}/store0{mode}", server.port());
        Store::open_at(&StoreLocation::parse(&url, &dir.path().join("store")).unwrap())
    };
    let trusting = |certificate: &rcgen::Certificate| {
        let path = dir.path().join("roots.pem");
        std::fs::write(&path, certificate.pem()).unwrap();
        format!("?sslmode=verify-full&sslrootcert={}", path.display())
    };
    // The server takes nothing unencrypted, and the right name only by the right roots.
    assert!(matches!(open("localhost", ""), Err(OpenError::Unfit { .. })));
    let wrong_roots = trusting(&other.cert);
    assert!(matches!(open("localhost", &wrong_roots), Err(OpenError::Unfit { .. })));
    let roots = trusting(&own.cert);
    assert!(matches!(open("127.0.0.1", &roots), Err(OpenError::Unfit { .. })), "another name");
    let store = open("localhost", &roots).unwrap();
    commit_next(&store, 1, 1);
    let sessions = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name LIKE 'holdfast%'";
    assert_eq!(server.sql("store0", sessions).trim(), "t");
}

/// What `docs/scale.md` reckons with. Prints bytes a resource and resources a
/// second.
#[test]
#[ignore = "measures; run it alone"]
fn measure_resources_of_1200_bytes() {
    const TRANSACTIONS: u64 = 200;
    let Some(server) = Postgres::start() else { return };
    let bed = Bed::on(&server);
    let store = bed.open();
    let before: u64 = server
        .sql(bed.database(), "SELECT pg_database_size(current_database())")
        .trim()
        .parse()
        .unwrap();
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..TRANSACTIONS / 4 {
                    let mut transaction = holdfast_store::Transaction::default();
                    for token in 0..100_u8 {
                        let mut key = resource(1, writer, 1, token);
                        key.id_token[..8].copy_from_slice(&number.to_be_bytes());
                        let mut version = sealed(1, 4, 1200);
                        version.index = vec![7; 300];
                        version.id_sealed = vec![7; 60];
                        transaction.puts.push((key, version));
                        let place = [&[writer, token][..], &number.to_be_bytes(), &[0; 6]].concat();
                        transaction.rows.push(row(Table::Locate, &place, Some(&[7; 90])));
                    }
                    store.commit(transaction).unwrap();
                }
            });
        }
    });
    let took = begin.elapsed();
    let snapshot = store.snapshot();
    let begin = std::time::Instant::now();
    for token in 0..100_u8 {
        for number in 0..20_u64 {
            let mut key = resource(1, 1, 1, token);
            key.id_token[..8].copy_from_slice(&number.to_be_bytes());
            assert!(snapshot.current(&key).unwrap().is_some());
        }
    }
    let reads = begin.elapsed();
    let size = "SELECT pg_database_size(current_database())";
    let after: u64 = server.sql(bed.database(), size).trim().parse().unwrap();
    let resources = TRANSACTIONS * 100;
    println!(
        "{} bytes a resource; {:.0} resources/s; {:.3} ms a read of index and body",
        (after - before) / resources,
        resources as f64 / took.as_secs_f64(),
        reads.as_secs_f64() * 1000.0 / 2000.0
    );
}
