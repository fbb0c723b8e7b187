//! Inputs and effects of a node in words, a line each. No program reads them.

use bytes::Bytes;

use crate::io::{
    ArchiveFailure, ArchiveRead, ArchiveTicket, ConnectionId, CoordinatorEvent, Effect, Input,
    Level, Report, Ticket,
};
use crate::journal::Place;
use crate::transcript::{answer_text, entry_text, request_text, short};
use crate::wire::{Frame, FromReplica, Message, ToReplica};

/// An input in words.
pub fn input_text(input: &Input) -> String {
    match input {
        Input::Opened { conn, identity: None } => format!("{} opened", connection(*conn)),
        Input::Opened { conn, identity: Some(identity) } => {
            format!("{} opened by {identity}", connection(*conn))
        }
        Input::Received { conn, frame } => {
            format!("{} brought {}", connection(*conn), frame_text(frame))
        }
        Input::Closed { conn, reason } => format!("{} closed: {reason}", connection(*conn)),
        Input::Durable { up_to, .. } => format!("durable up to entry {}", up_to.0),
        Input::JournalFailed { error } => format!("the journal failed: {error}"),
        Input::Read { ticket, result } => read_text(*ticket, result),
        Input::ArchiveRead { ticket, result } => archived_text(ticket, result),
        Input::Space { is_full: true } => "the disk is full".to_owned(),
        Input::Space { is_full: false } => "the disk has room again".to_owned(),
        Input::Timer => "the alarm".to_owned(),
        Input::EndOfTurn => "the end of the turn".to_owned(),
        Input::Shutdown => "asked to stop".to_owned(),
        Input::Coordinator(CoordinatorEvent::Connected) => "the coordinator is at hand".to_owned(),
        Input::Coordinator(CoordinatorEvent::Message(message)) => {
            format!("the coordinator says {message:?}")
        }
        Input::Coordinator(CoordinatorEvent::Lost { reason }) => {
            format!("the coordinator is lost: {reason}")
        }
    }
}

/// An effect in words.
pub fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Connect { conn, address } => format!("dial {address} as {}", connection(*conn)),
        Effect::Send { conn, frame } => {
            format!("send on {} {}", connection(*conn), frame_text(frame))
        }
        Effect::Close { conn, reason } => format!("close {}: {reason}", connection(*conn)),
        Effect::Append { entry, ticket } => {
            let partition = entry.head.partition().map(|partition| format!("{partition} "));
            let (partition, text) = (partition.unwrap_or_default(), entry_text(&entry.head));
            format!("append entry {}: {partition}{text}{}", ticket.0, bytes_text(entry.body.len()))
        }
        Effect::Read { ticket, places } => {
            let bytes = places.iter().map(|place: &Place| place.length as usize).sum();
            format!("read {}: {} bodies{}", ticket.0, places.len(), bytes_text(bytes))
        }
        Effect::ReadArchive { ticket, read } => {
            let ArchiveRead { creation, first, to, max_bytes } = read;
            let read = format!("{first} to {to} of creation {creation}, {max_bytes} bytes");
            format!("{}: read {read} from the archive", archive_ticket(ticket))
        }
        Effect::Release { below } => format!("release segments below {below}"),
        Effect::ReplayFrom { segment } => format!("replay from segment {segment}"),
        Effect::WakeAt(time) => format!("wake at {} ns", time.0),
        Effect::Report(report) => report_text(report),
        Effect::Stop { reason } => format!("stop: {reason}"),
        Effect::Coordinate(request) => format!("ask the coordinator {request:?}"),
        Effect::LiftBounds { conn } => format!("lift the bounds of {}", connection(*conn)),
    }
}

fn connection(conn: ConnectionId) -> String {
    let who = if conn.is_dialed() { "dialled" } else { "accepted" };
    format!("{who} connection {}", conn.number())
}

fn read_text(ticket: Ticket, result: &Result<Vec<Bytes>, String>) -> String {
    match result {
        Ok(bodies) => {
            let bytes = bodies.iter().map(Bytes::len).sum();
            format!("read {} gave {} bodies{}", ticket.0, bodies.len(), bytes_text(bytes))
        }
        Err(error) => format!("read {} failed: {error}", ticket.0),
    }
}

fn archived_text(ticket: &ArchiveTicket, result: &Result<Bytes, ArchiveFailure>) -> String {
    let read = archive_ticket(ticket);
    match result {
        Ok(records) => format!("{read} gave records{}", bytes_text(records.len())),
        Err(ArchiveFailure::Lacks) => format!("{read} found nothing"),
        Err(ArchiveFailure::Failed { reason }) => format!("{read} failed: {reason}"),
    }
}

fn archive_ticket(ticket: &ArchiveTicket) -> String {
    let ArchiveTicket { partition, session, request } = ticket;
    let number = request & (u64::MAX >> 1);
    format!("archive read {number} of partition {partition} in session {session}")
}

fn report_text(report: &Report) -> String {
    let level = match report.level {
        Level::Info => "note",
        Level::Warning => "warn",
        Level::Error => "report an error",
    };
    let partition = report.partition.map(|partition| format!(" of {partition}"));
    let peer = report.peer.map(|peer| format!(" about {peer}"));
    let (partition, peer) = (partition.unwrap_or_default(), peer.unwrap_or_default());
    format!("{level}{partition}{peer}: {}", report.text)
}

/// A frame's message, and how many bytes come along.
fn frame_text(frame: &Frame) -> String {
    let message = Message::decode(&frame.head);
    let opened = message.and_then(|message| message.open(frame.payload.clone()));
    let text = match opened.map(|(message, _)| message) {
        Ok(Message::ToReplica(ToReplica { partition, session, request, .. })) => {
            format!("{partition} {}: {}", short(&session), request_text(&request))
        }
        Ok(Message::FromReplica(FromReplica { partition, session, answer })) => {
            format!("{partition} {}: {}", short(&session), answer_text(&answer))
        }
        Ok(other) => format!("{other:?}"),
        Err(_) => format!("a message that can't be decoded, of {} bytes", frame.head.len()),
    };
    text + &bytes_text(frame.payload.len())
}

fn bytes_text(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        _ => format!(" ({bytes} bytes)"),
    }
}
