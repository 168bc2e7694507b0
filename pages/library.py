"""Library: bring music in, see what was read of it, look at it and listen."""

from pathlib import PurePath

import streamlit as st

from ui import cached, describe, keys, router
from ui.library_form import about_corpus, add_music, choose_data
from ui.page import opening
from ui.player import player
from ui.words import count

SAID = 2  # refused files that are told of beside the table

opening(
    "Library",
    "Bring in your own music or pick a corpus that is built in; see what was read, and listen to it.",
)

# ---- form
add_music()
name = choose_data("Look at", key="library.data")
if name is None:
    st.info("Add music of your own above, or pick a corpus to look at.", icon=":material/library_music:")
    st.stop()
about_corpus(name)
shelved = cached.data_set(name)
data, totals = shelved.data, shelved.totals

# ---- result
cells = (
    ("Pieces", totals["kept"] + totals["repaired"], ""),
    ("Notes", totals["notes"], ""),
    ("Bars", totals["bars"], ""),
    ("Minutes", totals["minutes"], "played at the tempo of each file"),
    ("Repaired", totals["repaired"], "something was mended on reading; the table says what"),
    ("Refused", totals["refused"], "could not be read; the table says why"),
)
with st.container(horizontal=True, gap="large"):
    for title, number, about in cells:
        st.metric(title, f"{number:,.0f}", help=about or None, width="content")

st.dataframe(
    shelved.rows,
    height=min(35 * (len(shelved.rows) + 1) + 3, 320),
    hide_index=True,
    column_config={
        "piece": st.column_config.TextColumn("Piece", width="medium"),
        "read": st.column_config.TextColumn("Read", width="small"),
        "notes": st.column_config.NumberColumn("Notes", format="localized"),
        "bars": st.column_config.NumberColumn("Bars", format="localized"),
        "minutes": st.column_config.NumberColumn("Minutes", format="%.1f"),
        "tracks": st.column_config.NumberColumn("Tracks"),
        "key": st.column_config.TextColumn(
            "Key", help="as the file names it; ≈ where it is a guess from the notes"
        ),
        "tempo": st.column_config.NumberColumn(
            "Tempo", format="%.0f", help="beats a minute, for most of the piece"
        ),
        "remark": st.column_config.TextColumn("Remark", width="large"),
    },
)
refused = [entry for entry in data.entries if entry.status == "refused"]
for entry in refused[:SAID]:
    st.warning(f"{entry.name} was refused: {describe.remark(entry)}.", icon=":material/block:")
if len(refused) > SAID:
    st.markdown(
        f"… and {count(len(refused) - SAID, 'more file', 'more files')}; they stand first in the table."
    )

st.subheader("Look and listen", anchor=False)
place = st.selectbox(
    "Piece", range(len(data.songs)), format_func=lambda i: data.names[i], key=f"piece.{name}"
)
player(data.songs[place], PurePath(data.names[place]).stem, "library", listen=False)

st.divider()
st.markdown(f"**Next:** train a model on {count(len(data.songs), 'piece')}.")
if st.button(f"Train on {name}", type="primary", icon=":material/school:"):
    keys.DATA.set(name)
    st.switch_page(router.TRAIN, query_params={"run": "new"})
