//! The `kubernetes` check: a node's `healthCheckNodePort`, or kube-proxy's own health port.

use super::{Found, ProbeError, Question, http, tcp};
use hyper::Response;
use hyper::body::Incoming;
use lbcore::config::KubernetesCheck;
use lbcore::health::kubernetes::{self, Verdict, WEIGHT_HEADER};

/// Bytes of a body that are read. A node's has some 150, and names of 316 characters at most.
const MOST_BODY: usize = 8 * 1024;

/// Asks once. Redirects are not followed.
pub(super) async fn probe(
    question: &Question,
    check: &KubernetesCheck,
) -> Result<Found, ProbeError> {
    let request = http::bare_request("GET", &check.path, &http::asked_host(question, 80))?;
    let stream = tcp::connect(question).await?;
    http::exchange(stream, request, |response| judge(response, check)).await
}

async fn judge(response: Response<Incoming>, check: &KubernetesCheck) -> Result<Found, ProbeError> {
    let (head, body) = response.into_parts();
    let answer = kubernetes::Answer {
        status: head.status.as_u16(),
        weight: head
            .headers
            .get(WEIGHT_HEADER)
            .map(|value| value.as_bytes()),
        body: &http::body(body, MOST_BODY).await?,
    };
    match kubernetes::judge(answer, check.service.as_ref()) {
        Verdict::Serves { found, weight } => Ok(Found {
            words: found,
            weight,
            expires: None,
        }),
        Verdict::Drains(why) => Err(ProbeError::Drains(why)),
        Verdict::Fails(why) => Err(ProbeError::Wrong(why)),
    }
}

#[cfg(test)]
mod tests;
