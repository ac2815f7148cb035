// rusty-celery as a worker and as a producer (one request a line on stdin, one answer a line on stdout, both JSON).
// It has no result store: what its tasks do is seen by the traces that they leave in Redis.
use anyhow::Result;
use celery::broker::{AMQPBroker, RedisBroker};
use celery::prelude::*;
use celery::task::Signature;
use serde_json::{json, Value};
use std::io::{BufRead, Write};

#[celery::task(name = "interop.add")]
fn add(x: f64, y: f64) -> TaskResult<f64> {
    Ok(x + y)
}

#[celery::task(name = "interop.sub")]
fn sub(x: f64, y: f64) -> TaskResult<f64> {
    Ok(x - y)
}

#[celery::task(name = "interop.keep")]
fn keep(value: serde_json::Value, key: String) -> TaskResult<()> {
    let store = std::env::var("STORE").unwrap();
    let mut connection = redis::Client::open(store).unwrap().get_connection().unwrap();
    let _: () = redis::cmd("RPUSH").arg(key).arg(value.to_string()).query(&mut connection).unwrap();
    Ok(())
}

#[celery::task(name = "interop.errback")]
fn errback(failed: String) -> TaskResult<()> {
    let store = std::env::var("STORE").unwrap();
    let mut connection = redis::Client::open(store).unwrap().get_connection().unwrap();
    let key = format!("interop-errbacks-{}", std::env::var("QUEUE").unwrap_or_else(|_| "celery".into()));
    let _: () = redis::cmd("RPUSH").arg(key).arg(failed).query(&mut connection).unwrap();
    Ok(())
}

fn option(ask: &Value, name: &str) -> Option<f64> {
    ask.get("options").and_then(|options| options.get(name)).and_then(Value::as_f64)
}

fn with_options<T: celery::task::Task>(mut made: Signature<T>, ask: &Value) -> Signature<T> {
    let moment = |seconds: f64| chrono::Utc::now() + chrono::Duration::milliseconds((seconds * 1000.0) as i64);
    if let Some(seconds) = option(ask, "eta_in") {
        made = made.with_eta(moment(seconds));
    }
    if let Some(seconds) = option(ask, "expires_in") {
        made = made.with_expires(moment(seconds));
    }
    if let Some(seconds) = option(ask, "time_limit") {
        made = made.with_hard_time_limit(seconds as u32).with_time_limit(option(ask, "soft_time_limit").unwrap_or(seconds) as u32);
    }
    made
}

const KNOWN: [&str; 4] = ["eta_in", "expires_in", "time_limit", "soft_time_limit"];

macro_rules! program {
    ($broker:ident) => {{
        let queue = std::env::var("QUEUE").unwrap_or_else(|_| "celery".into());
        let app = celery::app!(
            broker = $broker { std::env::var("BROKER").unwrap() },
            tasks = [add, sub, keep, errback],
            task_routes = ["*" => "celery"],
        )
        .await?;
        if std::env::args().nth(1).as_deref() == Some("worker") {
            println!("interop: ready");
            app.consume_from(&[&queue]).await?;
            return Ok(());
        }
        println!("{}", json!({"ready": true}));
        for line in std::io::stdin().lock().lines() {
            let ask: Value = serde_json::from_str(&line?)?;
            let strange = ask["options"].as_object().and_then(|given| {
                given.keys().find(|name| !KNOWN.contains(&name.as_str())).cloned()
            });
            let number = |at: usize| ask["args"][at].as_f64().unwrap_or(0.0);
            let answer = if ask["op"] != "call" {
                json!({"cannot": format!("rusty-celery has no {}", ask["op"])})
            } else if let Some(name) = strange {
                json!({"cannot": format!("rusty-celery has no option {name}")})
            } else if ask["get"] != json!(false) {
                json!({"cannot": "rusty-celery reads no results"})
            } else {
                let sent = match ask["task"].as_str().unwrap_or("") {
                    "interop.add" => app.send_task(with_options(add::new(number(0), number(1)), &ask)).await,
                    "interop.keep" => {
                        // It names every argument, however it is given.
                        let named = ask["kwargs"]["key"].is_string();
                        let key = if named { &ask["kwargs"]["key"] } else { &ask["args"][1] };
                        let value = if named { &ask["kwargs"]["value"] } else { &ask["args"][0] };
                        let key = key.as_str().unwrap_or("").to_string();
                        app.send_task(with_options(keep::new(value.clone(), key), &ask)).await
                    }
                    other => {
                        println!("{}", json!({"cannot": format!("{other} is not declared")}));
                        continue;
                    }
                };
                match sent {
                    Ok(result) => json!({"id": result.task_id}),
                    Err(error) => json!({"error": error.to_string()}),
                }
            };
            println!("{answer}");
            std::io::stdout().flush()?;
        }
        Ok(())
    }};
}

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::var("BROKER")?.starts_with("redis") {
        program!(RedisBroker)
    } else {
        program!(AMQPBroker)
    }
}
