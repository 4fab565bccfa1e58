//! The command line of the simulator.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    Control, FaultRule, FeedbackStatus, SimulatedAccount, SimulatorOptions, UnknownMessages, WithoutProvideFeedback,
};

const EXAMPLES: &str = "\
Examples:
  Answer like Twilio for the account of TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN:
    confirmd twilio-sim --listen 127.0.0.1:4010 --accept-unknown
  Ask for ten pauses of 3 seconds, then behave:
    confirmd twilio-sim --fault '429;retry_after=3;first=10'
  Lose the answer to every fifth Feedback after taking it:
    confirmd twilio-sim --fault 'reset;applied=yes;every=5'
  Know no message before its third Feedback request:
    confirmd twilio-sim --accept-unknown --fault '404;first=2;per=message'

Faults:
  A fault is KIND[;KEY=VALUE]… and hits Feedback requests only. Of several, the first that is due is played.
  KIND   300 to 599     that status; keys code, body (json, problem, html, empty), retry_after, location
         200 to 299     that status with an empty body, or body=html
         other_message  200, but for another message
         unconfirmed    200, but the outcome is `unconfirmed`
         young          404 while the message is younger than age=TIME
         delay          Twilio's answer, after time=TIME
         drip           Twilio's answer, one byte every pause=TIME
         cut            Twilio's answer, cut off in the middle of its body
         close          Twilio's answer, then the idle connection is closed unannounced
         hang           no answer, ever
         reset          no answer; the connection is reset
  WHICH  first=N, nth=N or every=N requests; all of them without it
         account=AC…, message=SM…   only theirs
         per=message                count each message's requests by themselves
  EFFECT applied=yes    the Feedback takes effect all the same; for statuses, other_message, unconfirmed, hang, reset

Watching and steering it while it runs:
    curl http://127.0.0.1:4010/_sim";

/// Options of `confirmd twilio-sim`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SimulatorArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    pub listen: SocketAddr,

    /// Wait this long before every answer, as 150ms or 2s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: Duration,

    /// Answer 429 to more requests at once than this
    #[arg(long, value_name = "REQUESTS")]
    pub concurrency_limit: Option<u32>,

    /// Take Feedback for messages that were never created here, instead of answering 404
    #[arg(long)]
    pub accept_unknown: bool,

    /// Status of a created Feedback
    #[arg(long, value_name = "STATUS", value_enum, default_value = "200")]
    pub feedback_status: FeedbackStatus,

    /// What Feedback for a message sent without ProvideFeedback=true gets
    #[arg(long, value_name = "ANSWER", value_enum, default_value = "ignore")]
    pub without_provide_feedback: WithoutProvideFeedback,

    /// Play a fault, as '503;first=10'; may be given several times (see --help)
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<FaultRule>,

    /// Serve the control routes below /_sim to everyone, not only to this machine
    #[arg(long)]
    pub control_from_anywhere: bool,
}

impl SimulatorArgs {
    pub fn options(self, account: SimulatedAccount) -> SimulatorOptions {
        SimulatorOptions {
            listen: self.listen,
            accounts: vec![account],
            unknown_messages: match self.accept_unknown {
                true => UnknownMessages::Accept,
                false => UnknownMessages::Refuse,
            },
            without_provide_feedback: self.without_provide_feedback,
            feedback_status: self.feedback_status,
            concurrency_limit: self.concurrency_limit,
            latency: self.latency,
            faults: self.faults,
            control: match self.control_from_anywhere {
                true => Control::Anyone,
                false => Control::Loopback,
            },
            ..SimulatorOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulatorArgs,
    }

    fn parse(line: &str) -> Result<SimulatorOptions, String> {
        let account = SimulatedAccount {
            account_sid: format!("AC{:032x}", 1).try_into().unwrap(),
            auth_token: "token".into(),
            api_keys: Vec::new(),
        };
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        Ok(cli.args.options(account))
    }

    #[test]
    fn flags_become_options() {
        let options = parse(
            "sim --listen 127.0.0.1:4011 --latency 150ms --concurrency-limit 8 --accept-unknown --feedback-status 201 \
             --without-provide-feedback not-found --fault 429;first=2 --fault hang;nth=3",
        )
        .unwrap();
        assert_eq!(options.listen.port(), 4011);
        assert_eq!(options.latency, Duration::from_millis(150));
        assert_eq!(options.concurrency_limit, Some(8));
        assert_eq!(options.unknown_messages, UnknownMessages::Accept);
        assert_eq!(options.feedback_status, FeedbackStatus::Created);
        assert_eq!(options.without_provide_feedback, WithoutProvideFeedback::NotFound);
        assert_eq!(options.faults.len(), 2);
        assert_eq!(options.control, Control::Loopback);
    }

    #[test]
    fn a_wrong_fault_is_refused_with_its_reason() {
        let refused = parse("sim --fault 429;frist=2").unwrap_err();
        assert!(refused.contains("`frist` is not a key of `429`"), "{refused}");
    }
}
