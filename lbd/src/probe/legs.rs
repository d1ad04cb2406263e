//! Probes that travel as the traffic does. When such a one hears nothing, the real is asked at its own
//! address as well: so the reason names the leg of the way that is broken.

use super::{Found, Leg, ProbeError, Question, Way};
use std::net::SocketAddr;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Asks at one VIP of each family, or at the one place there is: all must answer.
pub(super) async fn ask(question: &Question) -> Result<Found, ProbeError> {
    let Some(other) = question.other() else {
        return one(question).await;
    };
    let (found, _) = tokio::try_join!(one(question), one(&other))?;
    Ok(found)
}

/// Asks; the second question has what the first leaves of the timeout, and half of it if that
/// is merely silent. It changes words only, never the verdict.
async fn one(question: &Question) -> Result<Found, ProbeError> {
    let began = Instant::now();
    let (end, patience) = (began + question.timeout, began + question.timeout / 2);
    let failed = Notify::new();
    // What is a verdict already ends both, as the error of a `try_join`.
    let asked = async {
        let silence = Err(ProbeError::NoAnswer(question.timeout));
        match timeout_at(end, question.once()).await.unwrap_or(silence) {
            Err(error) if error.is_unheard() => {
                failed.notify_one();
                Ok(error)
            }
            verdict => Err(verdict),
        }
    };
    let beside = async {
        let _ = timeout_at(patience, failed.notified()).await;
        let plain = question.plain();
        let answer = timeout_at(end, plain.once()).await;
        Ok(answer.is_ok_and(|outcome| outcome.is_ok()))
    };
    match tokio::try_join!(asked, beside) {
        Err(verdict) => verdict,
        Ok((error, true)) => Err(ProbeError::Leg {
            leg: question.broken_leg(&error),
            error: Box::new(error),
        }),
        Ok((error, false)) => Err(error),
    }
}

impl Question {
    /// The same at the VIP of the other family, if there is one.
    fn other(&self) -> Option<Question> {
        match &self.way {
            Way::Vip(Leg {
                other: Some(to), ..
            }) => Some(Question {
                to: *to,
                ..self.clone()
            }),
            _ => None,
        }
    }

    /// The real's own address.
    fn real(&self) -> SocketAddr {
        match &self.way {
            Way::Vip(leg) => leg.real,
            Way::Real | Way::Client => self.to,
        }
    }

    /// The same to the real's own address, from this host's.
    fn plain(&self) -> Question {
        Question {
            to: self.real(),
            way: Way::Real,
            source: None,
            ..self.clone()
        }
    }

    fn broken_leg(&self, error: &ProbeError) -> String {
        let real = self.real().ip();
        match (&self.way, error) {
            (Way::Vip(_), _) => format!(
                "{real} answers at its own address but not for the VIP {} at this port: is the VIP \
                 on its lo, does the service listen on the VIP?",
                self.to.ip()
            ),
            (_, ProbeError::NoAnswer(_)) => format!(
                "answers of {real} to clients do not come back through this host: where does its \
                 route to them lead?"
            ),
            _ => {
                format!("{real} serves this host and refuses clients' addresses: a firewall there?")
            }
        }
    }
}
