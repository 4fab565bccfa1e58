use confirmd::postgres::*;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::Instant;
#[tokio::main]
async fn main() {
    for durable in [true, false] {
        let d = tempfile::tempdir().unwrap();
        let mut o = EmbeddedOptions::lasting(d.path());
        if !durable {
            o.durability = Durability::Fast;
        }
        for what in ["first start", "restart", "restart"] {
            let t = Instant::now();
            let p = EmbeddedPostgres::start(o.clone()).unwrap();
            println!("durable={durable} {what} {:?}", t.elapsed());
            let t = Instant::now();
            p.create_database_if_absent("confirmd").await.unwrap();
            println!("  create db {:?}", t.elapsed());
            if what == "first start" {
                let mut c = PgConnection::connect(&p.url("postgres")).await.unwrap();
                for strategy in ["", "strategy file_copy"] {
                    let t = Instant::now();
                    for i in 0..20 {
                        sqlx::query(AssertSqlSafe(format!("create database d{i} template confirmd {strategy}")))
                            .execute(&mut c)
                            .await
                            .unwrap();
                    }
                    println!("  20 create template {strategy:?} {:?}", t.elapsed());
                    let t = Instant::now();
                    for i in 0..20 {
                        sqlx::query(AssertSqlSafe(format!("drop database d{i} with (force)")))
                            .execute(&mut c)
                            .await
                            .unwrap();
                    }
                    println!("  20 drop {:?}", t.elapsed());
                }
                let t = Instant::now();
                for _ in 0..20 {
                    PgConnection::connect(&p.url("postgres")).await.unwrap();
                }
                println!("  20 connects {:?}", t.elapsed());
            }
            let t = Instant::now();
            p.stop().unwrap();
            println!("  stop {:?}", t.elapsed());
        }
    }
}
