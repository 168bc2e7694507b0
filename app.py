"""The router: page configuration, the door, and navigation; what composing needs is loaded after the first page."""

from ui import people, router
from ui.page import dress, sentences
from ui.warm import warm_up

router.configure()
inside = people.has_come_in()
page = router.navigation(inside)
if inside:
    with sentences():
        page.run()
    warm_up()
else:
    dress()
    people.door()
