"""From a row's columns to its rendering: one text, and which of its characters are learnt.

    Renderer(tokenizer, form, fields, loss, separator)      made once in each process that renders
    Renderer.content(columns) -> Content                    what of a row counts: a form's columns, checked
    Renderer.render(content) -> Rendered                    its text, and the spans that are learnt

`forms` says what a row may be, with the recipe's names for columns (`fields`), chat messages (`messages`) and what
counts as text (`texts`). Chats are rendered by `chat`: the template as a program (`templating`), the turns that are
learnt (`turns`), their words found again (`marks`), and nothing left out in silence (`written`). Everything else is
`plain`. Which template a recipe means is `chat_templates`, and `templates/` holds those that are shipped.
"""
