//! `lbctl top`: what lbd does, live, and the keys to change it. [`model`] decides, [`view`] draws;
//! here are the terminal, the clock and the questions to lbd.

mod model;
mod plan;
mod rows;
mod trend;
mod view;

use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use lbcore::api::{ChangeView, How, RealRef, Request, ServiceRef, StatusView};
use model::{Model, Then};
use plan::Action;
use ratatui::DefaultTerminal;
use ratatui::widgets::TableState;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Keys, pictures and answers that may wait to be drawn; senders wait beyond.
const QUEUE: usize = 64;

/// lbd answers in milliseconds; later than this it is called lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happens.
enum News {
    Key(KeyEvent),
    /// The size is another one, or the window is in front again.
    Redraw,
    Picture(Result<Box<StatusView>, Failure>),
    Done(Action, Result<Box<ChangeView>, Failure>),
}

/// Shows `client`'s lbd, asked every `period`, until the operator or a signal ends it.
///
/// # Errors
/// There is no terminal, or it cannot be used.
pub async fn run(client: &Client, period: Duration) -> Result<ExitCode, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::NoTerminal);
    }
    let mut stops = [
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::interrupt(),
    ]
    .map(signal)
    .into_iter()
    .collect::<Result<Vec<Signal>, _>>()
    .map_err(Failure::Start)?;
    let (tell, news) = mpsc::channel(QUEUE);
    // Also gives the terminal back when something here panics.
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let keys = tell.clone();
    std::thread::spawn(move || read_keys(&keys));
    tokio::spawn(pictures(client.clone(), period, tell.clone()));
    let ended = tokio::select! {
        ended = show(&mut terminal, client, tell, news) => ended.map(|()| ExitCode::SUCCESS),
        number = any(&mut stops) => Ok(ExitCode::from(128 + number)),
    };
    let restored = ratatui::try_restore().map_err(Failure::Output);
    ended.and_then(|code| restored.map(|()| code))
}

/// The number of the first signal that comes.
async fn any(stops: &mut [Signal]) -> u8 {
    let [terminate, hangup, interrupt] = stops else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
        _ = interrupt.recv() => 2,
    }
}

/// Draws after everything that happens, until the operator quits.
async fn show(
    terminal: &mut DefaultTerminal,
    client: &Client,
    tell: mpsc::Sender<News>,
    mut news: mpsc::Receiver<News>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let color = output::colors_wanted();
    let mut model = Model::default();
    let mut table = TableState::default();
    loop {
        let now = SystemTime::now();
        let look = view::Look { color, now };
        let drawn = terminal.draw(|frame| view::draw(frame, &model, &mut table, look));
        drawn.map_err(Failure::Output)?;
        let Some(what) = news.recv().await else {
            return Ok(());
        };
        let now = SystemTime::now();
        match what {
            News::Redraw => {}
            News::Picture(Ok(status)) => model.heard(*status, began.elapsed(), now),
            News::Picture(Err(failure)) => model.lost(failure.to_string(), now),
            News::Done(action, result) => model.done(&action, result.map(|change| *change), now),
            News::Key(key) => match model.press(key, now) {
                Then::Draw => {}
                Then::Quit => return Ok(()),
                Then::Do(action) => {
                    drop(tokio::spawn(perform(client.clone(), action, tell.clone())))
                }
            },
        }
    }
}

/// Blocks in the terminal's own thread for as long as there is one; the process's end ends it.
fn read_keys(tell: &mpsc::Sender<News>) {
    while let Ok(event) = event::read() {
        let news = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => News::Key(key),
            Event::Resize(..) | Event::FocusGained => News::Redraw,
            _ => continue,
        };
        if tell.blocking_send(news).is_err() {
            return;
        }
    }
}

async fn pictures(client: Client, period: Duration, tell: mpsc::Sender<News>) {
    loop {
        let asked = tokio::time::timeout(PATIENCE, client.ask(&Request::Status)).await;
        let late = || Err(client.bad_answer(format!("nothing came for {PATIENCE:?}")));
        let picture = asked.unwrap_or_else(|_| late());
        if tell.send(News::Picture(picture)).await.is_err() {
            return;
        }
        tokio::time::sleep(period).await;
    }
}

async fn perform(client: Client, action: Action, tell: mpsc::Sender<News>) {
    let request = Request::SetReal {
        service: ServiceRef::from(action.service.as_str()),
        real: RealRef(action.real.clone()),
        keys: action.wish.keys(),
        how: How::default(),
    };
    let result = client.ask(&request).await;
    // Nobody there any more: the operator has quit.
    let _ = tell.send(News::Done(action, result)).await;
}

#[cfg(test)]
mod tests;
