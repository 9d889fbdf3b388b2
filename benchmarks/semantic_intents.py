"""A stated workload: what people ask of one assistant, each thing worded in at least eight ways.

A template is an intent for each value of its slot, and two values never share an answer. Its wordings are written by
hand; orders are opened in the ways of ``_OPENED`` too. What is the same is known by construction. Nothing here was
looked at when the verifier's rules were written, and no rule was changed after it was measured here.
"""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["Intent", "intents"]


class Intent(NamedTuple):
    """One thing that is wanted, in all its *wordings*; an order, or a question."""

    name: str
    is_order: bool
    wordings: tuple[str, ...]


_VALUES = """
country: France Japan Brazil Kenya Canada Norway Egypt Peru Chile Ghana Italy Spain Nepal Cuba Iran Iraq Austria
Australia Niger Nigeria;
planet: Mercury Venus Mars Jupiter Saturn Uranus Neptune Pluto;
food: rice lentils pasta quinoa potatoes eggs chickpeas barley beans carrots noodles mushrooms beets peas oats millet
spinach cabbage asparagus broccoli;
animal: dogs cats horses rabbits parrots hamsters goats turtles cows sheep ducks geese mice rats snakes frogs bees
foxes wolves bears;
plant: tomatoes roses basil cucumbers strawberries orchids lettuce peppers tulips mint oregano onions pumpkins melons
ferns cacti ivy lavender sage radishes;
illness: asthma diabetes migraine anemia gout measles eczema malaria mumps flu bronchitis pneumonia hepatitis
arthritis psoriasis cholera rubella shingles scabies tetanus;
language: Python Rust Go Java Kotlin Ruby Swift Haskell Perl Scala Erlang Elixir Julia Lua Fortran Cobol Pascal Lisp
Prolog Ada;
tongue: French German Spanish Polish Turkish Korean Hindi Swahili Italian Dutch Danish Greek Czech Finnish Thai Arabic
Hebrew Urdu Welsh Irish;
tool: Git Docker Kubernetes Terraform Ansible Jenkins Grafana Kafka Redis Postgres Nginx Prometheus Airflow Spark
Hadoop Puppet Vagrant Consul Vault Helm;
device: router printer laptop phone tablet thermostat camera speaker television monitor keyboard scanner projector
doorbell dishwasher freezer oven toaster radio watch;
product: backpack blender kettle headset lamp mattress bicycle jacket sofa tent drill mixer rug mirror helmet suitcase
hammock stroller guitar clock;
city: Paris Rome Oslo Lima Cairo Delhi Boston Lagos Kyoto Quito Dublin Berlin Vienna Madrid Athens Prague Austin
Houston Dallas Denver;
topic: rain bees trains winter bridges volcanoes lighthouses gardens maps clocks rivers owls deserts islands kites
snow fog harbours libraries comets;
event: wedding conference birthday workshop funeral reunion picnic concert graduation christening hackathon webinar
banquet barbecue housewarming exhibition auction retreat tournament gala;
job: nurse plumber teacher accountant welder translator chef pilot farmer baker lawyer dentist carpenter barber
surgeon librarian mechanic tailor butcher gardener;
idea: inflation photosynthesis gravity evolution osmosis magnetism erosion recursion entropy democracy diffusion
friction momentum refraction fermentation condensation fission fusion taxation combustion;
metal: iron copper zinc silver gold nickel aluminium tin lead platinum titanium tungsten mercury cobalt chromium
lithium sodium magnesium potassium bismuth;
sport: tennis rugby chess cricket hockey judo rowing archery baseball basketball volleyball handball curling fencing
polo squash badminton lacrosse netball golf;
season: spring summer autumn winter Easter Christmas Halloween Thanksgiving;
tax: income property payroll sales inheritance import fuel carbon;
number: 3 4 5 6 7 8 9 10 12 15 20 25 30 40 50 60 75 80 90 100;
weekday: Monday Tuesday Wednesday Thursday Friday Saturday Sunday;
colour: red blue green yellow white orange purple amber;
level: beginners experts children teenagers managers students parents seniors;
tone: formal informal friendly angry polite rude cheerful sad;
size: small medium large tiny huge giant;
year: 1990 1991 1998 2001 2007 2008 2012 2016 2019 2020 2021 2022 2023 2024;
direction: rise fall;
opposed: with without;
order: ascending descending
"""
_SLOTS = {name.strip(): values.split() for name, _, values in (part.partition(":") for part in _VALUES.split(";"))}

_OPENED = {
    "write": (
        "Write {}.", "Please write {}.", "Could you write {}?", "Compose {}", "Can you draft {} for me?",
        "I'd like you to write {}.", "Generate {}, please.", "I need {}.",
    ),
    "list": (
        "List {}.", "Give me a list of {}.", "Please list {}", "Can you list {}?", "Hi, could you list {}? Thanks!",
    ),
    "suggest": (
        "Suggest {}.", "Recommend {}.", "Please suggest {}", "Can you suggest {}?", "Could you recommend {} please?",
    ),
    "explain": (
        "Explain {}.", "Please explain {}", "Could you explain {}?", "Give me an explanation of {}.",
        "Help me understand {}.",
    ),
}  # fmt: skip

# The opening, the slot, and what is ordered, in ways that mean the same.
_ORDERS = """
write topic|a short poem about {}|a brief poem about {}|a short poem on {}
write topic|a bedtime story about {}|a bedtime tale about {}|a story about {} for bedtime
write product|a product description for a {}|a description of a {} for an online shop|the product description of a {}
write product|a complaint about a broken {}|a complaint that my {} is broken|a complaint about a {} that broke
write device|a support ticket about a {} that does not start|a support ticket about a {} that doesn't start|a ticket for support about a {} which does not start
write event|an invitation to a {}|an invite to a {}|an invitation for a {}
write event|a thank-you note after a {}|a note of thanks after a {}|a short thank-you note after a {}
write job|a cover letter for a {}|a cover letter for a job as a {}|a cover letter for a position as {}
write job|a job advertisement for a {}|a job ad for a {}|an advertisement for a job as a {}
write city|a travel blog post about {}|a blog post about travelling to {}|a travel blog post on {}
write language|a function in {} that reverses a string|a {} function that reverses a string|a function that reverses a string in {}
write language|a {} program that counts words in a file|a program in {} that counts the words in a file|a {} program which counts words in a file
write tongue|a short dialogue in {} for beginners|a brief dialogue in {} for beginners|a short dialogue for beginners in {}
write season|a greeting card for {}|a {} greeting card|a card with greetings for {}
list country|five sights in {}|5 sights in {}|five sights of {}
list tool|the most used commands of {}|the most used {} commands|the commands of {} that are used most
list sport|the basic rules of {}|the basic rules in {}|the rules of {} for beginners
suggest food|three quick dinners with {}|3 quick dinners with {}|three fast dinners with {}
suggest animal|ten names for {}|10 names for {}|ten good names for {}
explain idea|{} to a child|{} to a kid|{} to children
write number|{} reviews of a hotel|{} hotel reviews|{} reviews of an hotel
write weekday|a reminder for the meeting on {}|a reminder about the meeting on {}|a reminder of the meeting on {}
write tone|a {} reply to a late invoice|a {} answer to a late invoice|a {} response to a late invoice
write level|a quiz about history for {}|a history quiz for {}|a quiz on history for {}
write opposed|a recipe for bread {} yeast|a bread recipe {} yeast|a recipe for a bread {} yeast
write order|a query that sorts orders by date in {} order|a query which sorts orders by date in {} order|a query that sorts the orders by date in {} order
list number|{} facts about the moon|{} facts on the moon|{} facts regarding the moon
suggest number|{} names for a bakery|{} good names for a bakery|{} bakery names
suggest size|a gift for a {} dog|a present for a {} dog|gifts for a {} dog
explain tax|how the {} tax works|how {} tax works|the way the {} tax works
""".strip().splitlines()  # noqa: E501

_QUESTIONS = """
country|What is the capital of {}?|What's the capital of {}?|Tell me the capital of {}.|Which city is the capital of {}?|Can you tell me what the capital of {} is?|what is the capital of {}|Name the capital of {}.|Do you know what the capital of {} is?
country|How many people live in {}?|What is the population of {}?|What's the population of {}|How large is the population of {}?|Tell me the population of {}.|how many people live in {}|Can you tell me how many people live in {}?|How big is {}'s population?
country|What currency does {} use?|What is the currency of {}?|What's the currency of {}?|Which currency is used in {}?|Tell me the currency of {}.|what is the currency of {}|Which currency does {} use?|What currency is used in {}?
planet|How far is {} from the sun?|What is the distance of {} from the sun?|What's the distance from {} to the sun?|how far is {} from the sun|Tell me how far {} is from the sun.|How far away from the sun is {}?|Can you tell me how far {} is from the sun?|What is the distance between {} and the sun?
planet|How many moons does {} have?|What is the number of moons of {}?|how many moons does {} have|Tell me how many moons {} has.|How many moons has {}?|Can you tell me how many moons {} has?|Do you know how many moons {} has?|Hi, how many moons does {} have?
food|How do I cook {}?|How can I cook {}?|How to cook {}|How should I cook {}?|What is the best way to cook {}?|What's a good way to cook {}?|how do i cook {}|Hello, how do I cook {}?
food|How long can I keep cooked {} in the fridge?|How long do cooked {} keep in the fridge?|how long can i keep cooked {} in the fridge|How long can one keep cooked {} in the fridge?|For how long can I keep cooked {} in the fridge?|How long can I store cooked {} in the fridge?|How many days can I keep cooked {} in the fridge?|How long can I keep cooked {} in the refrigerator?
animal|How long do {} live?|What is the life span of {}?|What's the life expectancy of {}?|how long do {} live|How many years do {} live?|Tell me how long {} live.|Can you tell me how long {} live?|How old do {} get?
plant|How often should I water {}?|How often do I water {}?|How often do I need to water {}?|how often should i water {}|How often should {} be watered?|How often must I water {}?|Tell me how often to water {}.|Please tell me how often I should water {}.
illness|What are the symptoms of {}?|What are symptoms of {}?|what are the symptoms of {}|Tell me the symptoms of {}.|Which symptoms does {} have?|Can you tell me what the symptoms of {} are?|What are the signs of {}?|What symptoms does {} have?
illness|Is {} contagious?|Is {} infectious?|is {} contagious|Tell me whether {} is contagious.|Can {} be passed on to others?|Is {} a contagious disease?|Do you know if {} is contagious?|Please tell me if {} is contagious.
tool|What is {}?|What's {}?|what is {}|Tell me what {} is.|Can you tell me what {} is?|Define {}.|What is meant by {}?|Do you know what {} is?
device|How do I reset my {}?|How can I reset my {}?|How to reset my {}|how do i reset my {}|What is the best way to reset my {}?|How should I reset my {}?|What's the way to reset my {}?|Hi, how do I reset my {}? Thanks!
device|Why does my {} keep turning off?|Why is my {} turning off all the time?|why does my {} keep turning off|How come my {} keeps turning off?|What is the reason that my {} keeps turning off?|Why does my {} always turn off?|Why does my {} keep switching off?|Do you know why my {} keeps turning off?
product|Can I return a {} without the receipt?|May I return a {} without the receipt?|can i return a {} without the receipt|Can I return a {} without a receipt?|Is it possible to return a {} without the receipt?|Can I give back a {} without the receipt?|Can a {} be returned without the receipt?|Hello, can I return a {} without the receipt?
city|How do I get from the airport of {} to the centre?|How can I get from the airport of {} to the centre?|How to get from the airport of {} to the center|What is the best way to get from the airport of {} to the centre?|how do i get from the airport of {} to the centre|How do I get from {} airport to the centre?|How should I get from the airport of {} to the centre?|How do I reach the centre from the airport of {}?
job|How much does a {} earn?|How much do {}s earn?|What does a {} earn?|how much does a {} earn|Tell me how much a {} earns.|What is the salary of a {}?|Can you tell me how much a {} earns?|What's the pay of a {}?
metal|At what temperature does {} melt?|What is the melting point of {}?|What's the melting point of {}?|Tell me the melting point of {}.|what is the melting point of {}|At which temperature does {} melt?|Can you tell me what the melting point of {} is?|When does {} melt?
sport|How many players are in a {} team?|How many players does a {} team have?|how many players are in a {} team|What is the number of players in a {} team?|How many players are there in a {} team?|How many people are in a {} team?|Tell me how many players are in a {} team.|Can you tell me how many players a {} team has?
number|How many minutes are {} hours?|How many minutes are in {} hours?|how many minutes are {} hours|What is the number of minutes in {} hours?|How many minutes do {} hours have?|Tell me how many minutes {} hours are.|Can you tell me how many minutes {} hours are?|Do you know how many minutes {} hours are?
number|What is {} percent of 240?|What's {} percent of 240?|what is {} % of 240|Tell me what {} percent of 240 is.|How much is {} percent of 240?|Calculate {} percent of 240.|Can you tell me what {} percent of 240 is?|What is {}% of 240?
weekday|When do you open on {}?|When are you open on {}?|when do you open on {}|At what time do you open on {}?|What time do you open on {}?|Can you tell me when you open on {}?|When do you open on {}s?|Hello, when do you open on {}?
colour|What does the {} light on my router mean?|What does a {} light on my router mean?|what does the {} light on my router mean|What is the meaning of the {} light on my router?|Why is the light on my router {}?|What does it mean when the light on my router is {}?|Tell me what the {} light on my router means.|Do you know what the {} light on my router means?
direction|Why did prices {} last year?|Why did the prices {} last year?|why did prices {} last year|How come prices did {} last year?|What is the reason that prices did {} last year?|For what reason did prices {} last year?|Do you know why prices did {} last year?|Tell me why prices did {} last year.
opposed|Can I fly {} a passport?|May I fly {} a passport?|can i fly {} a passport|Is it possible to fly {} a passport?|Can one fly {} a passport?|Am I allowed to fly {} a passport?|Tell me if I can fly {} a passport.|Do you know whether I can fly {} a passport?
year|Who won the world cup in {}?|Who won the {} world cup?|who won the world cup in {}|Tell me who won the world cup in {}.|Who was the winner of the world cup in {}?|Which team won the world cup in {}?|Can you tell me who won the world cup in {}?|Do you know who won the world cup in {}?
tax|Who has to pay the {} tax?|Who must pay the {} tax?|who has to pay the {} tax|Who needs to pay the {} tax?|Who pays the {} tax?|Tell me who has to pay the {} tax.|Can you tell me who has to pay the {} tax?|Do you know who has to pay the {} tax?
""".strip().splitlines()  # noqa: E501


def intents(rng: random.Random) -> list[Intent]:
    """All of them, in an order that is fair to orders and questions."""
    found = []
    for line in _ORDERS:
        head, *things = line.split("|")
        opening, slot = head.split()
        for value in _SLOTS[slot]:
            wordings = [form.format(thing.format(value)) for form in _OPENED[opening] for thing in things]
            found.append(Intent(f"{opening} {things[0].format(value)}", True, tuple(wordings)))
    for line in _QUESTIONS:
        slot, *questions = line.split("|")
        for value in _SLOTS[slot]:
            wordings = [question.format(value) for question in questions]
            found.append(Intent(wordings[0], False, (*wordings, *(f"{text} Please." for text in wordings[:2]))))
    rng.shuffle(found)
    return found
