"""A page with nothing but players, for tests/test_browser_player.py; `?show=` says which."""

from dataclasses import replace

import streamlit as st
from conftest import scale_song

from deepmusician.notes import Track
from ui.player import player, players

HOSTILE = '<img src=x onerror="console.error(1)">'
song = scale_song(48)
if st.query_params.get("show") == "two":
    players([("first", song), ("second", song.transpose(5))], "two")
else:
    notes = song.notes.copy()
    notes["track"] = notes["pitch"] >= 60
    two = replace(song, notes=notes, tracks=(Track(HOSTILE), Track("tune")), title=HOSTILE)
    region = player(two, HOSTILE, "one", select=True)
    st.text(f"Selected: {region and (region.start_beats, region.end_beats)}")
    st.button("Run again")
