// Hands what Python says about the sound of a player to that player, and the player's wishes to Python.

export default function ({ data, parentElement, setStateValue }) {
  const box = (parentElement.host ?? parentElement).closest('[data-testid="stElementContainer"]');
  if (box) box.style.display = "none"; // there is nothing to see, nor a gap to leave
  POST.news.set(data.id, data);
  POST.ask.set(data.id, (wish) => setStateValue("ask", wish));
  POST.players.get(data.id)?.hear(data);
  return () => {
    POST.news.delete(data.id);
    POST.ask.delete(data.id);
  };
}
